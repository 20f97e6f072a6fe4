"""The documentation of the application's operations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from events.models.event import EventType
from events.serializers.event import EventSerializer
from events.services.feed import MAX_LIMIT
from events.views import webhook_schema
from events.views.event import DEFAULT_LIMIT, EventListView
from wallets.utils.limits import MAX_BIGINT
from wallets.views.schema.operation import QUERY, STORED, Operation

_TYPES = "|".join(name.replace(".", "\\.") for name in EventType.values)

EXAMPLES: dict[str, Any] = json.loads(
    Path(__file__).with_name("examples.json").read_text(encoding="utf-8")
)
EXAMPLES |= webhook_schema.EXAMPLES
PATHS: dict[str, tuple[Any, str]] = {**webhook_schema.PATHS}
OPERATIONS: dict[type, dict[str, Operation]] = {
    EventListView: {
        "GET": Operation(
            id="list_events",
            tag="Events",
            summary="The feed of events",
            description=(
                "An array of the events after a position, oldest first. Every committed "
                "change is in the feed once, within about a second, in one order that "
                "never changes.\n\n"
                'Store the URL of `Link` with `rel="next"` after you have processed a '
                "page, and ask there next time: it is always there, also on an empty "
                "page at the end of the feed. With `type` a page may be empty or short "
                "before the end, because a bounded number of events is looked at; go on "
                "at the link."
            ),
            answer=EventSerializer(many=True),
            codes=(*STORED, *QUERY, "wallet_not_found", "position_ahead"),
            query=(
                OpenApiParameter(
                    "after",
                    {"type": "integer", "minimum": 0, "maximum": MAX_BIGINT},
                    description="Only events after this position; default: 0.",
                ),
                OpenApiParameter(
                    "type",
                    OpenApiTypes.STR,
                    description="Only these types, separated by commas.",
                    pattern=f"^({_TYPES})(,({_TYPES}))*$",
                ),
                OpenApiParameter(
                    "wallet", OpenApiTypes.UUID, description="Only of this wallet."
                ),
                OpenApiParameter(
                    "limit",
                    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
                    description=f"The most events of a page; default: {DEFAULT_LIMIT}.",
                ),
            ),
            headers={"Link": True},
        )
    },
    **webhook_schema.OPERATIONS,
}
