"""The result of a request in a batch that would have to wait."""

from __future__ import annotations


class Busy(Exception):
    """Another transaction is in the way, or may be: try again alone, and wait."""
