"""Reads the rows that are compared with the bank's list.

A row that cannot be read is left out, with an alarm, and all others are compared.

Note [The ids of a period]: attempts have no index by time, which each payment would have
to write. But ids rise with the time at which rows are made, and an attempt is not made
before its payment begins: a recorded one is made later. So the ids are read from the
newest one down, in chunks, until all rows of a chunk were made before the period. Then
no earlier row belongs to it, unless a wrong clock made more rows than a chunk has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.ledger.ledger_audit import CHUNK
from wallets.services.operations.reconciliation_alarms import StatementAlarms
from wallets.services.withdrawals.reference import (
    references_of,
    with_later_attempts,
)
from wallets.utils.bank.payment_list import StatementLine
from wallets.utils.damaged import all_or_each

T = TypeVar("T", bound=Model)

# SQLite refuses Django's prefetch of more than a thousand rows: it is one OR of them all.
READ_AT_ONCE = 500
# See Note [The ids of a period].
IDS_AT_ONCE = 10_000


def in_order(rows: QuerySet[T], alarms: StatementAlarms) -> Iterator[T]:
    """Yield all rows by id, in chunks, because MySQL's driver holds a whole result."""
    last = 0
    ids = rows.order_by("pk").values_list("pk", flat=True)
    while some := list(ids.filter(pk__gt=last)[:CHUNK]):
        yield from read(rows, some, alarms)
        last = some[-1]


def paid_between(
    start: datetime, end: datetime, alarms: StatementAlarms
) -> Iterator[Attempt]:
    """Yield the attempts that were paid in this time, by id."""
    for ids in reversed(list(_ids_between(start, end))):
        for first in range(0, len(ids), CHUNK):
            yield from read(Attempt.objects.all(), ids[first : first + CHUNK], alarms)


def _ids_between(start: datetime, end: datetime) -> Iterator[list[int]]:
    """Yield the ids of the paid attempts of this time, those of the newest rows first.

    See Note [The ids of a period]. Each statement reads one chunk, by the primary key.
    """
    newest_first = Attempt.objects.order_by("-pk").values_list("pk", flat=True)
    some = list(newest_first[:IDS_AT_ONCE])
    while some:
        chunk = Attempt.objects.filter(pk__range=(some[-1], some[0])).order_by("pk")
        paid = chunk.filter(
            outcome=Attempt.Outcome.ACCEPTED,
            started_at__gte=start,
            last_sent_at__lte=end,
        )
        yield list(paid.values_list("pk", flat=True))
        if not chunk.filter(created_at__gte=start).exists():
            return
        some = list(newest_first.filter(pk__lt=some[-1])[:IDS_AT_ONCE])


def read(rows: QuerySet[T], pks: Iterable[int], alarms: StatementAlarms) -> list[T]:
    """Return these rows by id, without the damaged ones."""
    found: list[T] = []

    def put_aside(pk: int, error: Exception) -> None:
        if rows.model is Transaction:
            alarms.of_damage(f"withdrawal {pk}", error, withdrawal_id=pk)
        else:
            alarms.of_damage(f"{rows.model._meta.model_name} {pk}", error)

    ids = sorted(pks)
    for start in range(0, len(ids), READ_AT_ONCE):
        all_or_each(
            lambda some: found.extend(rows.filter(pk__in=some).order_by("pk")),
            ids[start : start + READ_AT_ONCE],
            put_aside=put_aside,
        )
    return found


def find_forgotten(
    lines: Sequence[StatementLine], alarms: StatementAlarms
) -> dict[UUID | str | None, tuple[Transaction, int]]:
    """Return the withdrawals that lead to these references, with attempt numbers.

    After a restored backup the bank has paid attempts that the ledger does not have.
    """
    wanted = {line.reference for line in lines if isinstance(line.reference, UUID)}
    wallets = {line.wallet_uuid for line in lines if isinstance(line.wallet_uuid, UUID)}
    found: dict[UUID | str | None, tuple[Transaction, int]] = {}
    if not wanted or not wallets:
        return found
    rows = with_later_attempts().filter(wallet__uuid__in=wallets)
    for row in in_order(rows, alarms):
        for number, reference in enumerate(references_of(row, row.wallet.uuid), 1):
            if reference in wanted:
                found[reference] = row, number
    return found
