"""The ledger: the only writer of movements and balances, and the audit of the books."""
