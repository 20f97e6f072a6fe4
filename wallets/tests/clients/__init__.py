"""Walks through the API by generated clients. `test_clients` generates, checks and runs them.

Each opens a wallet, pays in twice with one key, schedules a withdrawal, lists it and takes
it back. Those that could end without having come to the end say so there.
"""
