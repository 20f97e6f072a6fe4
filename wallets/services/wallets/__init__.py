"""Wallets: created with a name, changed, frozen, closed."""
