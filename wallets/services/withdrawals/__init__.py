"""Withdrawals before they are due: how they are scheduled, and their bank references."""
