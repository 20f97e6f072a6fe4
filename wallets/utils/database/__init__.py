"""The database: transactions, locks, batches, and what differs between engines."""
