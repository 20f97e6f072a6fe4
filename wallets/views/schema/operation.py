"""The documentation of one operation, and what many operations share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.serializers import BaseSerializer

from wallets.serializers.problem import ProblemSerializer
from wallets.utils import instants
from wallets.views.http.pagination import DEFAULT_LIMIT
from wallets.views.http.query import MAX_LIMIT
from wallets.views.problems.catalogue import PROBLEMS

Schema = dict[str, Any]
Declared = BaseSerializer | type[BaseSerializer]


@dataclass(frozen=True)
class Operation:
    """One method of one endpoint. `codes` are the problems that it can answer."""

    id: str
    tag: str
    summary: str
    description: str
    answer: Declared
    codes: tuple[str, ...]
    # Problems of single items in a successful answer.
    item_codes: tuple[str, ...] = ()
    status: int = 200
    request: Declared | None = None
    has_key: bool = False
    query: tuple[OpenApiParameter, ...] = ()
    # Headers of a successful answer: name → whether it is always there.
    headers: Mapping[str, bool] = field(default_factory=dict)
    # Links: operation → its path parameters.
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    csv: bool = False
    # Problems with further members, by HTTP status.
    problems: Mapping[int, type[ProblemSerializer]] = field(default_factory=dict)

    def codes_by_status(self) -> dict[int, list[str]]:
        """Return the codes of its problems by status, in the order of the catalogue."""
        found: dict[int, list[str]] = {}
        for code, problem in PROBLEMS.items():
            if code in self.codes:
                found.setdefault(problem.status, []).append(code)
        return found


ANY = (
    "bad_request",
    "invalid_request",
    "parameter_unknown",
    "method_not_allowed",
    "not_acceptable",
    "internal_error",
)
STORED = (*ANY, "service_unavailable")
WALLET = (*STORED, "not_found", "wallet_not_found")
TRANSACTION = (*STORED, "not_found", "transaction_not_found")
QUERY = ("parameter_repeated", "parameter_invalid")
BODY = (
    "body_incomplete",
    "json_invalid",
    "unknown_field",
    "length_required",
    "content_too_large",
    "unsupported_media_type",
)
AMOUNT = ("required", "amount_invalid", "amount_too_large")
KEY = ("idempotency_key_invalid", "idempotency_key_reused")
MONEY = (
    *BODY,
    "body_required",
    *AMOUNT,
    *KEY,
    "request_in_progress",
)


def instant(name: str, text: str) -> OpenApiParameter:
    """Return a query parameter that is an instant."""
    pattern = f"^{instants.PATTERN}$"
    return OpenApiParameter(
        name, OpenApiTypes.DATETIME, description=text, pattern=pattern
    )


def choice(name: str, component: str, text: str) -> OpenApiParameter:
    """Return a query parameter with the values of a named enum."""
    return OpenApiParameter(
        name, {"$ref": f"#/components/schemas/{component}"}, description=text
    )


# Without `default`: generated clients would send it, also for CSV, which has no pages.
LIMIT = OpenApiParameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
    description=f"The number of rows on a page; default: {DEFAULT_LIMIT}.",
)
CURSOR = OpenApiParameter(
    "cursor",
    description="The position of a page. Follow the URLs of `Link` as they are.",
)
SELF = "$request.path.wallet_uuid"
