"""Corrections of deposits and transfers, by operators."""
