"""Calls of the API by generated clients; `test_clients` generates and runs them.

Each program creates a wallet, deposits twice with one key, schedules a withdrawal,
lists it and cancels it. A program that could stop early prints a line at its end.
"""
