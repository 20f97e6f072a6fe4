"""GET /events/: the feed."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from events.models.event import EventType
from events.serializers.event import event_line
from events.services import feed
from events.services.feed import MAX_LIMIT, FeedPage, FeedRequest
from wallets.services.requests.checks import checked_uuid
from wallets.utils.caller import Caller
from wallets.utils.limits import MAX_BIGINT
from wallets.views.http.operation import Operation
from wallets.views.http.query import uuid_of
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView

DEFAULT_LIMIT = 100
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def position(text: str) -> int:
    """Return a position, 0 or more.

    :raises ValueError: anything else.
    """
    if not _NUMBER.fullmatch(text) or int(text) > MAX_BIGINT:
        raise ValueError(f"The value must be an integer from 0 to {MAX_BIGINT}.")
    return int(text)


def page_limit(text: str) -> int:
    """Return a page's length, 1 to 1000.

    :raises ValueError: anything else.
    """
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f"The value must be an integer from 1 to {MAX_LIMIT}.")
    return int(text)


def event_types(text: str) -> frozenset[str]:
    """Return types that are separated by commas.

    :raises ValueError: one is not known, or is named twice.
    """
    names = text.split(",")
    if set(names) - set(EventType.values) or len(set(names)) < len(names):
        known = ", ".join(EventType.values)
        raise ValueError(
            f"The value must be different types, separated by commas, of {known}."
        )
    return frozenset(names)


class ListEvents(Operation[FeedRequest, FeedPage]):
    """Show the events after a position: a bare array, oldest first."""

    capability = "events"
    known_parameters = {
        "after": position,
        "type": event_types,
        "wallet": uuid_of,
        "limit": page_limit,
    }
    # A page may have a thousand events.
    max_batch = 4

    def read(self, request: Request, query: Mapping[str, Any]) -> FeedRequest:
        return FeedRequest(
            after=query.get("after", 0),
            limit=query.get("limit", DEFAULT_LIMIT),
            kinds=query.get("type"),
            wallet=query.get("wallet"),
        )

    def wallets_of(self, call: FeedRequest) -> Collection[uuid.UUID]:
        return () if call.wallet is None else (checked_uuid(call.wallet),)

    def many(
        self, calls: Sequence[FeedRequest], *, caller: Caller, wait: bool
    ) -> Sequence[FeedPage | Exception]:
        return feed.pages([replace(call, tenant=caller.tenant) for call in calls])

    def write(
        self, request: Request, call: FeedRequest, result: FeedPage
    ) -> ApiResponse:
        return json_response(
            [event_line(record) for record in result.records],
            headers={"Link": _links(request, call, result.after)},
        )


def _links(request: Request, call: FeedRequest, after: int) -> str:
    """Return the Link header. The next page is there also at the end of the feed."""
    filters = {
        "type": ",".join(sorted(call.kinds or ())),
        "wallet": str(call.wallet or ""),
        "limit": str(call.limit),
    }
    given = {name: value for name, value in filters.items() if value}
    return ", ".join(
        f'<{request.url_of(request.path)}?{urlencode(query, safe=",")}>; rel="{relation}"'
        for relation, query in (
            ("next", {"after": str(after), **given}),
            ("first", given),
        )
    )


class EventListView(OperationView):
    """GET /events/."""

    operations = (ListEvents(),)
