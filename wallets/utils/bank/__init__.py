"""The bank: its interface, its HTTP, and what its answers prove."""
