"""Transfers between wallets: one, many in one transaction, many of several clients."""
