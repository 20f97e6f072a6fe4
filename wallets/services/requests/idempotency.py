"""Idempotency keys: a repeated request has one effect and one answer.

The key is a column of the transaction, unique within the caller's tenant. So key and
effect commit together, and are kept for as long.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from wallets.errors import IdempotencyKeyReused, InvalidIdempotencyKey, LostRace
from wallets.models.states import Event
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.utils.database.untaken import insert_untaken
from wallets.utils.words import NO_WORDS, Words

# The evidence of the first transition of a withdrawal that an operator recorded without
# its scheduled time. The client's request may have any time.
TIME_NOT_KNOWN = "the planned time is not known"

# For MySQL and MariaDB. A join looks up each key by itself. A list of keys is read as
# ranges, which also lock the next entry of the index: a new row of another transaction.
_USED = (
    "SELECT made.id FROM JSON_TABLE(%s, '$[*]'"
    " COLUMNS (one CHAR(36) CHARACTER SET ascii PATH '$')) AS asked"
    " STRAIGHT_JOIN wallets_transaction AS made"
    " FORCE INDEX (transaction_idempotency_key_of_tenant_unique)"
    " ON made.idempotency_key = asked.one AND made.tenant = %s FOR UPDATE NOWAIT"
)


def parse_key(key: uuid.UUID | str | None) -> uuid.UUID:
    """Return the client's key, or a new key if the client sent none.

    :raises InvalidIdempotencyKey: the key is not a UUID.
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
    keys: Sequence[uuid.UUID], *, tenant: str, wait: bool = True
) -> dict[uuid.UUID, Transaction]:
    """Return the tenant's transactions of these keys, with their wallets, by key.

    Uncommitted transactions are not seen; a later insert of the same key waits for
    them. With `wait=False` MySQL and MariaDB raise a lock time-out here, at once, if a
    key is in use.
    """
    if connection.vendor == "mysql" and not wait and not _any_used(keys, tenant):
        return {}
    rows = Transaction.objects.select_related("wallet").filter(tenant=tenant)
    return {row.idempotency_key: row for row in rows.filter(idempotency_key__in=keys)}


def _any_used(keys: Sequence[uuid.UUID], tenant: str) -> bool:
    """Whether a transaction of the tenant has one. A key in use: a lock time-out."""
    column = Transaction._meta.get_field("idempotency_key")
    values = [str(column.get_db_prep_value(key, connection)) for key in keys]
    with connection.cursor() as cursor:
        cursor.execute(_USED, [json.dumps(values), tenant])
        return cursor.fetchone() is not None


def insert_new(planned: Sequence[Transaction]) -> dict[uuid.UUID, Transaction]:
    """Insert the transactions, all of one tenant, whose keys are new.

    Returns, by key, the transactions that have the other keys. Call inside a
    transaction. Only the inserted transactions get ids. An existing row with the same
    key must differ in wallet or type.

    :raises LostRace: a key was taken, and its transaction does not exist any more; or
        another caller of the same wallet has taken it meanwhile.
    """
    taken = insert_untaken(
        Transaction,
        planned,
        unique="idempotency_key",
        within="tenant",
        same=("wallet_id", "transaction_type"),
    )
    if not taken:
        return {}
    made = find_made([one.idempotency_key for one in taken], tenant=taken[0].tenant)
    if any(one.idempotency_key not in made for one in taken):
        raise LostRace("a key is taken, and not by a transaction of this tenant")
    return made


def check_same(
    made: Transaction,
    *,
    transaction_type: str,
    wallet_uuid: uuid.UUID,
    amount: int,
    scheduled_for: datetime | None = None,
    fails_if_frozen: bool = False,
    words: Words = NO_WORDS,
) -> None:
    """Check that the request is the one that `made` was made for.

    :raises IdempotencyKeyReused: it is a different one.
    """
    same = (
        made.transaction_type == transaction_type
        and made.wallet.uuid == wallet_uuid
        and made.amount == amount
        and _same_time(made, scheduled_for)
        and _same_words(made, fails_if_frozen, words)
    )
    if not same:
        raise IdempotencyKeyReused(
            "This idempotency key was used for another request before."
        )


def _same_time(made: Transaction, scheduled_for: datetime | None) -> bool:
    if made.requested_for == scheduled_for:
        return True
    first = Transition.objects.filter(transaction=made, sequence=0)
    return first.filter(evidence=TIME_NOT_KNOWN).exists()


def _same_words(made: Transaction, fails_if_frozen: bool, words: Words) -> bool:
    known = made.fails_if_frozen, (made.description, made.reference, made.metadata)
    if known == (fails_if_frozen, words):
        return True
    # An operator who records a payment does not know the client's words.
    recorded = Transition.objects.filter(
        transaction=made, event=Event.RECORD_PAID.value
    )
    return known == (False, NO_WORDS) and recorded.exists()
