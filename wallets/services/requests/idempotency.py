"""Idempotency keys: the same request twice has one effect and one answer.

The key is a unique column of the transaction it made, so key and effect commit together
and are kept as long as the money.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from wallets.errors import IdempotencyKeyReused, InvalidIdempotencyKey, LostRace
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.utils.database.batch import insert_untaken

# The evidence of a withdrawal's first transition where an operator has entered it after
# the fact: the client's request may have named another time.
TIME_NOT_KNOWN = "the planned time is not known"

# MySQL and MariaDB only. A join, so that each key is looked up by itself: a list of them
# is read as ranges, and what follows in the index, another's new row, is met as well.
_USED = (
    "SELECT made.id FROM JSON_TABLE(%s, '$[*]'"
    " COLUMNS (one CHAR(36) CHARACTER SET ascii PATH '$')) AS asked"
    " STRAIGHT_JOIN wallets_transaction AS made"
    " FORCE INDEX (transaction_idempotency_key_unique)"
    " ON made.idempotency_key = asked.one FOR UPDATE NOWAIT"
)


def parse_key(key: uuid.UUID | str | None) -> uuid.UUID:
    """Return the client's key, or a new one of our own where the client sent none.

    :raises InvalidIdempotencyKey: when it is not a UUID.
    """
    if key is None:
        return uuid.uuid4()
    if isinstance(key, uuid.UUID):
        return key
    try:
        return uuid.UUID(key)
    except (ValueError, AttributeError, TypeError):
        raise InvalidIdempotencyKey(
            "The idempotency key must be a UUID.", field="Idempotency-Key"
        ) from None


def find_made(
    keys: Sequence[uuid.UUID], *, wait: bool = True
) -> dict[uuid.UUID, Transaction]:
    """Return what these keys have made, each with its wallet; deposits know the balance
    after them.

    What is not committed is not seen; who then takes the same key waits for it. Unless it
    may `wait`, MySQL and MariaDB say so here: a lock time-out, at once.
    """
    if connection.vendor == "mysql" and not wait and not _any_used(keys):
        return {}
    rows = Transaction.objects.select_related("wallet")
    made = {row.idempotency_key: row for row in rows.filter(idempotency_key__in=keys)}
    deposits = {
        row.pk: row
        for row in made.values()
        if row.transaction_type == Transaction.TransactionType.DEPOSIT
    }
    if deposits:
        movements = Movement.objects.filter(transaction__in=deposits)
        for pk, balance in movements.values_list("transaction_id", "balance_after"):
            deposits[pk].balance_after = balance
    return made


def _any_used(keys: Sequence[uuid.UUID]) -> bool:
    """Whether one of the keys has made something; a lock time-out if one is in use."""
    column = Transaction._meta.get_field("idempotency_key")
    values = [str(column.get_db_prep_value(key, connection)) for key in keys]
    with connection.cursor() as cursor:
        cursor.execute(_USED, [json.dumps(values)])
        return cursor.fetchone() is not None


def insert_new(planned: Sequence[Transaction]) -> dict[uuid.UUID, Transaction]:
    """Insert the transactions whose keys nobody has; return what the other keys have made.

    Call inside a transaction. Those inserted learn their ids; the others have none. Another's
    row must differ in wallet or type.

    :raises LostRace: a key is taken, and what took it is not there any more.
    """
    taken = insert_untaken(
        Transaction,
        planned,
        unique="idempotency_key",
        same=("wallet_id", "transaction_type"),
    )
    if not taken:
        return {}
    made = find_made([one.idempotency_key for one in taken])
    if any(one.idempotency_key not in made for one in taken):
        raise LostRace("a key is taken, and nobody has made anything with it")
    return made


def replay(
    made: Transaction,
    *,
    transaction_type: str,
    wallet_uuid: uuid.UUID,
    amount: int,
    scheduled_for: datetime | None = None,
) -> Transaction:
    """Return `made` as it was made, for a request that repeats it.

    :raises IdempotencyKeyReused: when the request is another one.
    """
    same = (
        made.transaction_type == transaction_type
        and made.wallet.uuid == wallet_uuid
        and made.amount == amount
        and _same_time(made, scheduled_for)
    )
    if not same:
        raise IdempotencyKeyReused(
            "This idempotency key was used for another request before."
        )
    return _as_made(made)


def _same_time(made: Transaction, scheduled_for: datetime | None) -> bool:
    if made.scheduled_for == scheduled_for:
        return True
    first = Transition.objects.filter(transaction=made, sequence=0)
    return first.filter(evidence=TIME_NOT_KNOWN).exists()


def _as_made(made: Transaction) -> Transaction:
    """Turn a transaction back into what the first answer showed of it."""
    made.replayed = True
    if made.balance_after is not None:
        made.wallet.balance = made.balance_after
        return made
    fresh = Transaction(
        pk=made.pk,
        wallet=made.wallet,
        transaction_type=made.transaction_type,
        amount=made.amount,
        scheduled_for=made.scheduled_for,
        idempotency_key=made.idempotency_key,
        created_at=made.created_at,
    )
    fresh.replayed = True
    return fresh
