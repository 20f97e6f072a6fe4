"""The name under which the bank is asked to pay; see docs/decisions/0004."""

from __future__ import annotations

import uuid

from wallets.models.transaction import Transaction


def reference_of(
    withdrawal: Transaction, wallet_uuid: uuid.UUID, number: int
) -> uuid.UUID:
    """The bank reference of an attempt: the same whenever and wherever it is derived.

    Made from what the client holds: its wallet and its idempotency key. So the books may
    forget a withdrawal, in a restored backup: when the client asks for it again it gets
    the same reference, and a bank that dedupes pays it once.
    """
    name = f"withdrawal {withdrawal.idempotency_key} {number}"
    return uuid.uuid5(wallet_uuid, name)
