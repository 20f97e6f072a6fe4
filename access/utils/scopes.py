"""Scopes: what a key may do.

A scope is a capability and a verb. Neither verb implies the other: a key that only
makes deposits need not be able to read who has how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EVERYTHING = "*"

SCOPES: Mapping[str, str] = {
    "wallets:read": "show and list wallets, their balance now and at a moment",
    "wallets:write": "create wallets, change their reference and metadata",
    "wallet_life:write": "freeze, unfreeze and close wallets",
    "deposits:write": "make deposits, one or many",
    "withdrawals:write": "schedule, reschedule and cancel withdrawals",
    "transactions:read": "show and list transactions, and statements",
    "transfers:read": "show transfers",
    "transfers:write": "make transfers, one or many",
    "corrections:write": "take back all or part of deposits and transfers",
    "events:read": "read the feed of events",
    "webhooks:read": "show webhooks and what was delivered to them",
    "webhooks:write": "make, change and delete webhooks, rotate secrets, replay, test",
    "metrics:read": "read /metrics, if METRICS_TOKEN is not set",
}


def unknown(scopes: Sequence[str]) -> list[str]:
    """Return the names that are no scopes, in order."""
    return [name for name in scopes if name not in SCOPES and name != EVERYTHING]
