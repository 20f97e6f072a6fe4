"""All endpoints for the document, in the order in which a client needs them.

A new endpoint needs an entry in one of these tables; otherwise the document cannot be
made.
"""

from __future__ import annotations

from collections import ChainMap

from wallets.serializers.health import (
    AliveSerializer,
    ReadyProblemSerializer,
    ReadySerializer,
)
from wallets.utils import extensions
from wallets.views.health import AliveView, ReadyView
from wallets.views.schema import money, records, transfers, wallets
from wallets.views.schema.operation import ANY, STORED, Operation

_HEALTH: dict[type, dict[str, Operation]] = {
    AliveView: {
        "GET": Operation(
            id="alive",
            tag="Health",
            summary="The process answers",
            description="Uses no other part of the service.",
            answer=AliveSerializer,
            codes=ANY,
            is_open=True,
        )
    },
    ReadyView: {
        "GET": Operation(
            id="ready",
            tag="Health",
            summary="Requests can be served",
            description=(
                "503 without the database or with missing migrations. 200 and `degraded` "
                "without the broker, with a silent sweep, with paused or late payouts, or "
                "with a bank that does not answer: payments are late then."
            ),
            answer=ReadySerializer,
            codes=STORED,
            is_open=True,
            problems={503: ReadyProblemSerializer},
        )
    },
}

OPERATIONS: dict[type, dict[str, Operation]] = {
    **wallets.OPERATIONS,
    **money.OPERATIONS,
    **transfers.OPERATIONS,
    **records.OPERATIONS,
    **ChainMap(*extensions.of_each("views.schema", "OPERATIONS")),
    **_HEALTH,
}
