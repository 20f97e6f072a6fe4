"""The documentation of one operation, and what many operations share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
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


# The problems of the caller, where the service asks who calls.
CALLER = ("unauthenticated", "forbidden", "rate_limited", "service_unavailable")


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
    # One item and one result, if the request may also be an array, answered with 200.
    many: tuple[type[BaseSerializer], type[BaseSerializer]] | None = None
    has_key: bool = False
    query: tuple[OpenApiParameter, ...] = ()
    # Headers of a successful answer: name → whether it is always there.
    headers: Mapping[str, bool] = field(default_factory=dict)
    # Links: operation → its path parameters.
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    csv: bool = False
    # Problems with further members, by HTTP status.
    problems: Mapping[int, type[ProblemSerializer]] = field(default_factory=dict)

    # Whether its caller may be asked who it is.
    is_open: bool = False

    @property
    def asks(self) -> bool:
        """Whether its caller is asked who it is."""
        return bool(settings.API_AUTHENTICATION) and not self.is_open

    def codes_by_status(self) -> dict[int, list[str]]:
        """Return the codes of its problems by status, in the order of the catalogue."""
        codes = (*self.codes, *CALLER) if self.asks else self.codes
        found: dict[int, list[str]] = {}
        for code, problem in PROBLEMS.items():
            if code in codes:
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
WORDS = ("description_invalid", "reference_invalid", "metadata_invalid")
MANY = (
    "item_invalid",
    "invalid_request",
    "unknown_field",
    *AMOUNT,
    "wallet_invalid",
    "wallet_not_found",
    *KEY,
)
MONEY = (
    *BODY,
    "body_required",
    *AMOUNT,
    *WORDS,
    *KEY,
    "wallet_frozen",
    "wallet_closed",
    "request_in_progress",
)


def instant(name: str, text: str) -> OpenApiParameter:
    """Return a query parameter that is an instant."""
    pattern = f"^{instants.PATTERN}$"
    return OpenApiParameter(
        name, OpenApiTypes.DATETIME, description=text, pattern=pattern
    )


def integer(name: str, text: str, most: int) -> OpenApiParameter:
    """Return a query parameter that is an integer from 0 to `most`."""
    kind = {"type": "integer", "format": "int64", "minimum": 0, "maximum": most}
    return OpenApiParameter(name, kind, description=text)


def text(name: str, about: str, most: int) -> OpenApiParameter:
    """Return a query parameter that is a text of at most this many characters."""
    kind = {"type": "string", "minLength": 1, "maxLength": most}
    return OpenApiParameter(name, kind, description=about)


def choice(name: str, component: str, text: str) -> OpenApiParameter:
    """Return a query parameter with the values of a named enum."""
    return OpenApiParameter(
        name, {"$ref": f"#/components/schemas/{component}"}, description=text
    )


# How a list of everything is read.
WINDOW = (
    "The next page is in the `Link` header; new rows are neither skipped nor repeated. A "
    "request looks at a bounded number of rows. So a page may have fewer rows than "
    "`limit`, or none, and be followed by others: the last page is the one without `next`."
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
