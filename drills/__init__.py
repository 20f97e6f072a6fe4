"""Drills: real processes, real faults, and a verdict on what is left.

Nothing here is imported by the product. Every process that a drill starts dies with it.
"""
