"""Pages of withdrawals: filtered, by cursor, each read from an index. Reads only.

There are two orders, so that no filter reads rows that it does not show. All
withdrawals, and those of a wallet, are ordered by id, newest first. With a status or a
span of time they are ordered by the scheduled time.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from wallets.models.attempt import Attempt
from wallets.models.review_proposal import ReviewProposal
from wallets.models.transaction import Transaction
from wallets.services.operations import review
from wallets.services.payouts import damage
from wallets.utils.database import readable

PAGE = 50

Status = Transaction.Status
# The withdrawals that may wait for their wallets (`transaction_waiting_is_to_be_paid`).
_MAY_WAIT = (Status.PENDING, Status.FAILED)


@dataclass(frozen=True)
class Filters:
    """The combined filters.

    `needs_review` needs the status PROCESSING, by which the index finds it.
    """

    status: str = ""
    needs_review: bool = False
    wallet_uuid: str = ""
    transaction_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Cursor:
    """The last row of a page: the next page begins after it.

    `moment` is the time by which the list is ordered.
    """

    moment: datetime
    pk: int

    def __str__(self) -> str:
        return f"{self.moment.timestamp():.6f}_{self.pk}"


@dataclass(frozen=True)
class Page:
    """Withdrawals, and the cursor of the next page; None at the end."""

    rows: list[Transaction]
    next: Cursor | None


def page(filters: Filters, after: Cursor | None = None, *, size: int = PAGE) -> Page:
    """Return one page of withdrawals."""
    rows = _filtered(filters)
    if filters.transaction_id is not None:
        found = list(rows[:1])
    elif filters.wallet_uuid or not (filters.status or _span(filters)):
        found = _by_id(rows, after, size)
    else:
        found = _by_time(rows, filters, after, size)
    more = len(found) > size
    found = found[:size]
    last = Cursor(_time_of(found[-1]), found[-1].pk) if more else None
    return Page(found, last)


def _time_of(row: Transaction) -> datetime:
    # Only a damaged withdrawal has no scheduled time.
    return row.scheduled_for or row.created_at


def _span(filters: Filters) -> bool:
    return bool(filters.since or filters.until)


def _filtered(filters: Filters) -> QuerySet[Transaction]:
    rows = Transaction.objects.filter(
        transaction_type=Transaction.TransactionType.WITHDRAWAL
    ).select_related("wallet")
    if filters.transaction_id is not None:
        rows = rows.filter(pk=filters.transaction_id)
    if filters.wallet_uuid:
        rows = rows.filter(wallet__uuid=filters.wallet_uuid)
    if filters.status:
        rows = rows.filter(status=filters.status)
    if filters.needs_review:
        rows = rows.filter(needs_review=True)
    if filters.since:
        rows = rows.filter(scheduled_for__gte=filters.since)
    if filters.until:
        rows = rows.filter(scheduled_for__lt=filters.until)
    return rows


def _by_id(
    rows: QuerySet[Transaction], after: Cursor | None, size: int
) -> list[Transaction]:
    if after:
        rows = rows.filter(pk__lt=after.pk)
    return _readable(rows.order_by("-pk"), size + 1)


def _by_time(
    rows: QuerySet[Transaction], filters: Filters, after: Cursor | None, size: int
) -> list[Transaction]:
    """By scheduled time, the latest first; pending ones the earliest first."""
    latest = filters.status != Status.PENDING
    if after:
        way = "lt" if latest else "gt"
        rows = rows.filter(
            Q(**{f"scheduled_for__{way}": after.moment})
            | Q(scheduled_for=after.moment, **{f"pk__{way}": after.pk}),
            # Redundant, so that the index is used.
            **{f"scheduled_for__{way}e": after.moment},
        )
    order = ("-scheduled_for", "-pk") if latest else ("scheduled_for", "pk")
    # One ordered index range for each status, and for those that wait, merged here.
    pages = [
        _readable(
            rows.filter(status=status, waits_for_wallet=waits).order_by(*order),
            size + 1,
        )
        for status in ([filters.status] if filters.status else Status.values)
        for waits in ((False, True) if status in _MAY_WAIT else (False,))
    ]
    key = lambda row: (_time_of(row), row.pk)  # noqa: E731
    return list(heapq.merge(*pages, key=key, reverse=latest))[: size + 1]


def _readable(rows: QuerySet[Transaction], size: int) -> list[Transaction]:
    """Return the first rows, without those that cannot be read: they have an alarm."""
    return readable.page(rows, size, damage.put_aside(Transaction))


@dataclass(frozen=True)
class Waiting:
    """A withdrawal in review, with the attempt to ask the bank about.

    Without an attempt its rows are damaged.
    """

    withdrawal: Transaction
    attempt: Attempt | None
    proposal: ReviewProposal | None


def waiting_for_review(limit: int = PAGE) -> list[Waiting]:
    """Return the review queue, the longest waiting first."""
    waiting = review.waiting().prefetch_related("attempts", "review_proposals")
    rows = _readable(waiting, limit)
    found = []
    for row in rows:
        attempts = sorted(row.attempts.all(), key=lambda one: one.number)
        proposal = next(iter(row.review_proposals.all()), None)
        found.append(Waiting(row, attempts[-1] if attempts else None, proposal))
    return found
