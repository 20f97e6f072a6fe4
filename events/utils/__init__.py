"""Helpers without models: addresses, signatures, the sending client, the receiver."""
