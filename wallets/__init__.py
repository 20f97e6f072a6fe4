"""The wallet: ledger, withdrawals and the bank."""
