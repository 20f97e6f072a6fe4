"""One kind of problem."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One kind of refusal or failure. `code` never changes its meaning."""

    code: str
    status: int
    title: str
    explanation: str
