"""What an audit of the books finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A wrong row, with its name and what is wrong."""

    check: str
    row: str
    detail: str
