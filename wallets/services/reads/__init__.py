"""Reads: what clients look at. Nothing here changes a row."""
