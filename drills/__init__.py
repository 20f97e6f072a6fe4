"""Drills: real processes, real faults, and a check of the result.

The product does not import them. Every process that a drill starts ends with the drill.
"""
