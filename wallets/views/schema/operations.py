"""Every endpoint: what it is for, what it takes, what it answers. In the order of a client.

A new endpoint gets its entry in one of these tables, or the document cannot be made.
"""

from __future__ import annotations

from wallets.serializers.health import (
    AliveSerializer,
    ReadyProblemSerializer,
    ReadySerializer,
)
from wallets.views.health import AliveView, ReadyView
from wallets.views.schema import money, records
from wallets.views.schema.operation import ANY, STORED, Operation

_HEALTH: dict[type, dict[str, Operation]] = {
    AliveView: {
        "GET": Operation(
            id="alive",
            tag="Health",
            summary="The process answers",
            description="Touches nothing else.",
            answer=AliveSerializer,
            codes=ANY,
        )
    },
    ReadyView: {
        "GET": Operation(
            id="ready",
            tag="Health",
            summary="Requests can be served",
            description=(
                "503 without the database or with migrations missing. Without the broker, "
                "with a sweep silent, with payouts paused or late, or with a bank that does "
                "not answer it is 200 and `degraded`: payments are late."
            ),
            answer=ReadySerializer,
            codes=STORED,
            problems={503: ReadyProblemSerializer},
        )
    },
}

OPERATIONS: dict[type, dict[str, Operation]] = {
    **money.OPERATIONS,
    **records.OPERATIONS,
    **_HEALTH,
}
