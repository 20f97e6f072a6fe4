"""The answer of a call for many where one of them has to wait, and may not."""

from __future__ import annotations


class Busy(Exception):
    """Another transaction is in the way, or it was not found out: ask alone, and wait."""
