"""The bank references of a withdrawal's attempts; see docs/decisions/0004.

They are derived from the client's key. So they are known before an attempt is made, and
for a request whose withdrawal the ledger does not have. Reads only.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from wallets.models.attempt import Attempt
from wallets.models.states import Event, State
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.withdrawals import recorded

# The references of so many attempts are always known: the bank may have paid one of them
# before WITHDRAWAL_MAX_RETRIES was lowered from its default. Each one costs each keyed
# request a hash and a look into an index, so they are no more.
KNOWN_ATTEMPTS = 4

# A client's request: its wallet and its idempotency key.
Request = tuple[uuid.UUID, uuid.UUID]


def reference_of(
    withdrawal: Transaction, wallet_uuid: uuid.UUID, number: int
) -> uuid.UUID:
    """Return the bank reference of an attempt: always and everywhere the same one.

    It is derived from the wallet and the idempotency key. So after a restored backup a
    repeated request gets the same reference, and a bank with dedupe pays it once.
    """
    return _reference(str(withdrawal.idempotency_key), wallet_uuid, number)


def references_of(withdrawal: Transaction, wallet_uuid: uuid.UUID) -> list[uuid.UUID]:
    """Return the references of all attempts that a withdrawal can have, in order.

    Also of those that it has, or waits for, since before the number of retries was
    lowered, and of the first KNOWN_ATTEMPTS.
    """
    waits = withdrawal.state in (State.PENDING, State.FAILED_RETRYABLE)
    known = next_number(withdrawal) if waits else withdrawal.retry_count + 1
    return references_of_key(withdrawal.idempotency_key, wallet_uuid, least=known)


def references_of_key(
    key: uuid.UUID, wallet_uuid: uuid.UUID, *, least: int = 1
) -> list[uuid.UUID]:
    """Return the references of the withdrawal that this key makes, or would make.

    Those of all attempts that are allowed, and at least so many.
    """
    written = str(key)
    return [_reference(written, wallet_uuid, each) for each in _numbers(least)]


def texts_of_key(key: uuid.UUID, wallet_uuid: uuid.UUID) -> list[str]:
    """Return the same as `references_of_key`, as canonical text.

    By the formula of `uuid.uuid5` (RFC 9562, 5.5): each keyed request needs them, and
    UUIDs that are written as text at once take three times as long.
    """
    name = f"withdrawal {key} ".encode()
    begun = hashlib.sha1(wallet_uuid.bytes + name, usedforsecurity=False)
    texts = []
    for number in _numbers():
        hashed = begun.copy()
        hashed.update(str(number).encode())
        one = hashed.hexdigest()
        variant = "89ab"[int(one[16], 16) & 3]
        texts.append(
            f"{one[:8]}-{one[8:12]}-5{one[13:16]}-{variant}{one[17:20]}-{one[20:32]}"
        )
    return texts


def _numbers(least: int = 1) -> range:
    """Return the numbers of the attempts whose references are known, at least so many."""
    allowed = settings.WITHDRAWAL_MAX_RETRIES + 1
    return range(1, max(allowed, KNOWN_ATTEMPTS, least) + 1)


def _reference(key: str, wallet_uuid: uuid.UUID, number: int) -> uuid.UUID:
    return uuid.uuid5(wallet_uuid, f"withdrawal {key} {number}")


def next_number(withdrawal: Transaction) -> int:
    """Return the number of the attempt after those that the withdrawal has."""
    return withdrawal.retry_count + (1 if withdrawal.state is State.PENDING else 2)


def with_later_attempts() -> QuerySet[Transaction]:
    """Return the withdrawals of which the bank may have paid an attempt we do not have.

    After a restored backup they wait to be paid, or an earlier attempt is open, or an
    operator has concluded that attempt as paid, because the bank has paid a later one,
    or has recorded a payment and did not know which one it was.
    """
    status = Transaction.Status
    concluded = Transition.objects.filter(
        Q(event=Event.RESOLVE_PAID.value)
        | Q(event=Event.RECORD_PAID.value) & Q(recorded.without_reference()),
        transaction=OuterRef("pk"),
    )
    return Transaction.objects.filter(
        Q(status__in=(status.PENDING, status.PROCESSING))
        | Q(status=status.FAILED, final=False)
        | Q(status=status.COMPLETED) & Exists(concluded),
        transaction_type=Transaction.TransactionType.WITHDRAWAL,
    ).select_related("wallet")


def find_waiting(reference: uuid.UUID | None, wallet_id: int) -> Transaction | None:
    """Return the wallet's withdrawal whose later attempt has this reference."""
    rows = with_later_attempts().filter(wallet_id=wallet_id)
    for row in rows.iterator(chunk_size=2000):
        if reference in references_of(row, row.wallet.uuid)[next_number(row) - 1 :]:
            return row
    return None


def find_recorded(asked: Iterable[Request]) -> dict[Request, Transaction]:
    """Return the recorded withdrawals whose reference is derived from one of the keys.

    By wallet and key. An operator has recorded them without the key. Usually one query,
    because there is none.
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
