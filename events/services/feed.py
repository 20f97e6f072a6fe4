"""Reads of the feed: the events after a position, in the order of the feed.

Nothing is written or locked. A position that a reader has seen never changes, and no
event ever appears at or below it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db.models import Max

from events.errors import PositionAhead
from events.models.event import Event
from events.services.content import EventRecord, records
from wallets.models.wallet import Wallet
from wallets.services.reads.current import wallets_by_uuid
from wallets.services.reads.tenants import tenant_of_wallet

# The most events of one page, and the most rows that are read for one page: types and
# tenants have no index, which would cost every deposit.
MAX_LIMIT = 1000
SCAN = 10_000


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """The events after a position: at most `limit`, of these types, of this wallet.

    None: of all types, of all wallets. `tenant`: only those of its wallets; "": all.
    """

    after: int = 0
    limit: int = MAX_LIMIT
    kinds: frozenset[str] | None = None
    wallet: uuid.UUID | str | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Events, and the position after which the next page begins.

    A page of some types, or of a tenant, may be empty although later events exist: `after` then is the
    position up to which it was looked.
    """

    records: list[EventRecord]
    after: int


def read(
    after: int,
    limit: int,
    *,
    kinds: Collection[str] | None = None,
    wallet: uuid.UUID | str | None = None,
) -> list[EventRecord]:
    """Return the next events after the position, at most `limit`, oldest first.

    With `kinds` it looks at everything up to the end of the feed if it must; a client
    gets `page`, which is bounded.

    :raises PositionAhead: the feed ends before `after`.
    :raises Wallet.DoesNotExist: no such wallet.
    """
    found: list[EventRecord] = []
    types = None if kinds is None else frozenset(kinds)
    while True:
        size = min(limit - len(found), MAX_LIMIT)
        part = page(FeedRequest(after, size, types, wallet))
        found += part.records
        if len(found) >= limit or part.after == after:
            return found
        after = part.after


def pages(asked: Sequence[FeedRequest]) -> list[FeedPage | Exception]:
    """Return the pages, or the refusals of `page`, in the order of the requests."""
    return [_page_or_refusal(one) for one in asked]


def _page_or_refusal(asked: FeedRequest) -> FeedPage | Exception:
    try:
        return page(asked)
    except (PositionAhead, Wallet.DoesNotExist) as refusal:
        return refusal


def page(asked: FeedRequest) -> FeedPage:
    """Return a page of the feed. It reads a bounded number of rows.

    :raises PositionAhead: the feed ends before `after`.
    :raises Wallet.DoesNotExist: no such wallet.
    """
    owner = None if asked.wallet is None else _wallet(asked.wallet)
    # Read first: up to here nothing is added later.
    end = last_position()
    if asked.after > end:
        raise PositionAhead(f"the feed ends at position {end}")
    rows = Event.objects.filter(position__gt=asked.after).order_by("position")
    if owner is not None:
        # The range lets no engine prefer the primary key to the wallet's index.
        rows = rows.filter(wallet__gte=owner.pk, wallet__lte=owner.pk)
        rows = rows.order_by("wallet_id", "position")
    elif asked.kinds is not None or asked.tenant:
        end = min(end, asked.after + SCAN)
    rows = rows.filter(position__lte=end)
    if asked.tenant:
        rows = rows.alias(owner=tenant_of_wallet()).filter(owner=asked.tenant)
    if owner is not None and asked.kinds is not None:
        window = list(rows[:MAX_LIMIT])
        chosen = [row for row in window if row.type in asked.kinds][: asked.limit]
        # All of the window was looked at, and it was not cut.
        if len(window) == MAX_LIMIT:
            end = window[-1].position
    else:
        if asked.kinds is not None:
            rows = rows.filter(type__in=asked.kinds)
        chosen = list(rows[: asked.limit])
    if chosen and len(chosen) == asked.limit:
        end = chosen[-1].position
    return FeedPage(records(chosen), max(end, asked.after))


def last_position() -> int:
    """Return the last position of the feed; 0 if it is empty."""
    return Event.objects.aggregate(last=Max("position"))["last"] or 0


def _wallet(given: uuid.UUID | str) -> Wallet:
    (found,) = wallets_by_uuid([given])
    if isinstance(found, Wallet):
        return found
    raise found
