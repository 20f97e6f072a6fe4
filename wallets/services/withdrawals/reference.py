"""The names under which the bank is asked to pay a withdrawal; see docs/decisions/0004.

They follow from the client's key, so they can be told before an attempt is made, and of a
request whose withdrawal the books do not have. Reads only.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.conf import settings

from wallets.models.attempt import Attempt
from wallets.models.states import State
from wallets.models.transaction import Transaction

# What a client has asked for: its wallet, its idempotency key.
Request = tuple[uuid.UUID, uuid.UUID]


def reference_of(
    withdrawal: Transaction, wallet_uuid: uuid.UUID, number: int
) -> uuid.UUID:
    """The bank reference of an attempt: the same whenever and wherever it is derived.

    Made from what the client holds: its wallet and its idempotency key. So the books may
    forget a withdrawal, in a restored backup: when the client asks for it again it gets
    the same reference, and a bank that dedupes pays it once.
    """
    return _reference(str(withdrawal.idempotency_key), wallet_uuid, number)


def references_of(withdrawal: Transaction, wallet_uuid: uuid.UUID) -> list[uuid.UUID]:
    """The references of all attempts that a withdrawal can come to, the first one first."""
    return references_of_key(withdrawal.idempotency_key, wallet_uuid)


def references_of_key(key: uuid.UUID, wallet_uuid: uuid.UUID) -> list[uuid.UUID]:
    """The same for the withdrawal that a key of this wallet's client makes, or would."""
    numbers = range(1, settings.WITHDRAWAL_MAX_RETRIES + 2)
    written = str(key)
    return [_reference(written, wallet_uuid, each) for each in numbers]


def _reference(key: str, wallet_uuid: uuid.UUID, number: int) -> uuid.UUID:
    return uuid.uuid5(wallet_uuid, f"withdrawal {key} {number}")


def next_number(withdrawal: Transaction) -> int:
    """The number of the next attempt of one that is pending or waits for a retry."""
    failed = withdrawal.state is State.FAILED_RETRYABLE
    return withdrawal.retry_count + (2 if failed else 1)


def find_waiting(reference: uuid.UUID | None, wallet_id: int) -> Transaction | None:
    """The wallet's withdrawal that a later attempt would pay under this reference."""
    rows = Transaction.objects.select_related("wallet").filter(
        wallet_id=wallet_id,
        transaction_type=Transaction.TransactionType.WITHDRAWAL,
        status__in=(Transaction.Status.PENDING, Transaction.Status.FAILED),
        final=False,
    )
    for row in rows.iterator(chunk_size=2000):
        if reference in references_of(row, row.wallet.uuid)[next_number(row) - 1 :]:
            return row
    return None


def find_recorded(asked: Iterable[Request]) -> dict[Request, Transaction]:
    """The withdrawals that were recorded by references to which clients' keys lead.

    By wallet and key: those of which there is one. One query, as a rule: there is none.
    """
    leads_to = {
        reference: request
        for request in asked
        for reference in references_of_key(request[1], request[0])
    }
    if not leads_to:
        return {}
    attempts = Attempt.objects.filter(reference__in=leads_to)
    made = dict(attempts.values_list("reference", "transaction_id"))
    if not made:
        return {}
    rows = Transaction.objects.select_related("wallet").in_bulk(made.values())
    return {leads_to[each]: rows[pk] for each, pk in made.items()}
