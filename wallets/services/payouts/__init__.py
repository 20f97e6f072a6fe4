"""Payouts: claim, call the bank, record the answer, resolve what is unknown."""
