"""Makes the document, with drf-spectacular.

Components come from the serializers. The tables of operations add problems, headers,
links and examples.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.serializers.problem import ProblemSerializer
from wallets.serializers.transaction import IF_FROZEN
from wallets.serializers.wallet import DIRECTIONS
from wallets.utils import extensions, words
from wallets.utils.limits import MAX_BIGINT
from wallets.views.problems.catalogue import PROBLEMS
from wallets.views.problems.problem_response import (
    CONTENT_TYPE,
    body_of,
    too_large_text,
)
from wallets.views.schema.operation import Operation, Schema
from wallets.views.schema.operations import OPERATIONS

# Recorded requests and answers; a test makes them again and compares.
EXAMPLES: dict[str, Any] = json.loads(
    Path(__file__).with_name("examples.json").read_text(encoding="utf-8")
) | dict(ChainMap(*extensions.of_each("views.schema", "EXAMPLES")))
JSON = "application/json"
CSV = "text/csv"
# The most items of a request that is an array.
MAX_ITEMS = 1000
# The list of a response's codes. No schema closes it, so that codes can be added.
CODES = "x-problem-codes"

_PATH: dict[str, tuple[Any, str]] = {
    **ChainMap(*extensions.of_each("views.schema", "PATHS")),
    "wallet_uuid": (OpenApiTypes.UUID, "The wallet."),
    "transfer_uuid": (OpenApiTypes.UUID, "The transfer."),
    "transaction_id": (
        {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_BIGINT},
        "The transaction.",
    ),
}
_KEY = (
    "A UUID of your own, bare or in double quotes. The same request with it has one "
    "effect and one answer; a different request with it is refused."
)
_HEADERS: dict[str, tuple[Any, str]] = {
    "Location": (OpenApiTypes.URI, "The URL of the new resource."),
    "Link": (
        {"type": "string", "pattern": '^(<[^>]+>; rel="next", )?<[^>]+>; rel="first"$'},
        "RFC 8288: the first page and, if there is one, the next page.",
    ),
    "Idempotent-Replayed": (
        {"type": "string", "pattern": "^true$"},
        "The key was used before: this is its first answer again.",
    ),
    "Retry-After": (
        {"type": "string", "pattern": "^[0-9]+$"},
        "Seconds to wait before repeating.",
    ),
    "Allow": (OpenApiTypes.STR, "The methods of the path."),
    "WWW-Authenticate": (OpenApiTypes.STR, "RFC 6750: the challenge, and its error."),
    "RateLimit": (OpenApiTypes.STR, "How much is left, and until when."),
    "RateLimit-Policy": (OpenApiTypes.STR, "How much there is in which time."),
}
_RETRY = {"request_in_progress", "service_unavailable", "rate_limited"}
# The name of the security scheme.
_KEY_SCHEME = "key"
# The headers that every problem of a status has.
_ALWAYS = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("RateLimit", "RateLimit-Policy"),
}
# Problems of these statuses have the same text for every request of an operation.
_SAY_THE_SAME = {401, 404, 405, 406, 411, 413, 415, 429, 500, 503}
_NAMED: dict[str, Schema] = {
    "Metadata": {
        "type": "object",
        "maxProperties": words.MAX_NAMES,
        "additionalProperties": {"type": "string"},
    },
    # The values in requests. In an answer the same values are no closed list.
    "FailureCode": {
        "type": "string",
        "enum": [code for code in Transaction.FailureCode.values if code],
    },
    "Direction": {"type": "string", "enum": list(DIRECTIONS)},
    "IfFrozen": {"type": "string", "enum": list(IF_FROZEN)},
    "TransactionStatus": {"type": "string", "enum": Transaction.Status.values},
    "TransactionType": {"type": "string", "enum": Transaction.TransactionType.values},
    "WalletState": {"type": "string", "enum": Wallet.State.values},
}


class WordExtension(OpenApiSerializerFieldExtension):
    """Documents the values of an answer as a list that may grow.

    An `enum` would become a closed type in most generated clients, which fail on the
    first value of a later release. With `x-extensible-enum` it stays a string.
    """

    target_class = "wallets.serializers.fields.WordField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        return {"type": "string", "x-extensible-enum": list(self.target.choices)}


class MetadataExtension(OpenApiSerializerFieldExtension):
    """Documents metadata as a named object, which generators need."""

    target_class = "wallets.serializers.fields.MetadataField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        return {"$ref": "#/components/schemas/Metadata"}


class ChoiceExtension(OpenApiSerializerFieldExtension):
    """Documents the values of a request's field as a named enum."""

    target_class = "wallets.serializers.fields.ChoiceField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        return {"$ref": f"#/components/schemas/{self.target.component}"}


class WalletSchema(AutoSchema):
    """Takes from the tables what cannot be derived for an operation."""

    @property
    def described(self) -> Operation:
        return OPERATIONS[type(self.view)][self.method]

    def get_operation_id(self) -> str:
        return self.described.id

    def get_summary(self) -> str:
        return self.described.summary

    def get_description(self) -> str:  # type: ignore[override]
        return self.described.description

    def get_tags(self) -> list[str]:
        return [self.described.tag]

    def get_request_serializer(self) -> Any:
        return self.described.request

    def get_response_serializers(self) -> Any:
        one = self.described
        success = OpenApiResponse(one.answer, description=f"{one.summary}.")
        responses: dict[Any, Any] = {(one.status, JSON): success}
        if one.csv:
            responses[one.status, CSV] = OpenApiTypes.STR
        for status, codes in one.codes_by_status().items():
            responses[status, CONTENT_TYPE] = OpenApiResponse(
                one.problems.get(status, ProblemSerializer),
                description=_explanations(codes),
            )
        return responses

    def get_override_parameters(self) -> list[Any]:
        one = self.described
        path = [
            OpenApiParameter(name, kind, "path", description=text)
            for name, (kind, text) in _PATH.items()
            if f"{{{name}}}" in self.path
        ]
        key = OpenApiParameter(
            "Idempotency-Key", OpenApiTypes.UUID, "header", description=_KEY
        )
        return [*path, *([key] if one.has_key else []), *one.query, *_headers(one)]

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation = super().get_operation(*args, **kwargs)
        assert operation is not None  # noqa: S101
        if settings.API_AUTHENTICATION and self.described.is_open:
            operation["security"] = []
        if self.described.many:
            self._add_many(operation, *self.described.many)
        served = getattr(self.view, "operations", ())
        limits = [one.max_body for one in served if one.method == self.method]
        _add(operation, self.described, max_body=max(limits, default=0))
        return operation

    def _add_many(self, operation: dict[str, Any], item: Any, result: Any) -> None:
        """Add the array of a request that is one object or an array of items."""
        asked = self.resolve_serializer(item, "request").ref
        content = operation["requestBody"]["content"][JSON]
        array = {"type": "array", "items": asked, "maxItems": MAX_ITEMS}
        content["schema"] = {"oneOf": [content["schema"], array]}
        answered = self.resolve_serializer(result, "response").ref
        operation["responses"] |= {
            "200": {
                "description": "To an array: the result of each item, in order.",
                "content": {JSON: {"schema": {"type": "array", "items": answered}}},
            }
        }


def finish(result: dict[str, Any], **_options: Any) -> dict[str, Any]:
    """A hook of drf-spectacular: adds what holds for all operations."""
    schemas = result["components"]["schemas"]
    for name, schema in schemas.items():
        if name.endswith(("Request", "Item")):
            schema["additionalProperties"] = False
    schemas["Problem"]["properties"]["code"]["x-extensible-enum"] = list(PROBLEMS)
    result["components"]["schemas"] = dict(sorted({**schemas, **_NAMED}.items()))
    if not settings.API_AUTHENTICATION:
        return result | {"security": []}
    components = result["components"]
    components["securitySchemes"] = {_KEY_SCHEME: settings.API_SECURITY_SCHEME}
    return result | {"security": [{_KEY_SCHEME: []}]}


@cache
def document() -> dict[str, Any]:
    """Return the whole document; made once for each process."""
    return SchemaGenerator().get_schema(request=None, public=True)


def _explanations(codes: list[str]) -> str:
    lines = [f"- `{code}`: {PROBLEMS[code].explanation}" for code in codes]
    text = "\n".join(lines) if len(codes) > 1 else lines[0][2:]
    if codes == ["method_not_allowed"]:
        text += " (The answer to any other method of this path.)"
    return text


def _headers(operation: Operation) -> Iterator[OpenApiParameter]:
    """Yield the headers of the operation's answers, for drf-spectacular."""
    for name, always in operation.headers.items():
        # CSV has no pages, so Link is not always there.
        yield _header(name, operation.status, always and not operation.csv)
    for status, codes in operation.codes_by_status().items():
        for name in _ALWAYS.get(status, ()):
            yield _header(name, status, True)
        if _RETRY & set(codes):
            yield _header("Retry-After", status, _RETRY.issuperset(codes))


def _header(name: str, status: int, always: bool) -> OpenApiParameter:
    kind, text = _HEADERS[name]
    return OpenApiParameter(
        name, kind, "header", required=always, description=text, response=[status]
    )


def _add(operation: dict[str, Any], described: Operation, *, max_body: int) -> None:
    """Add examples, links and the codes of problems, which no serializer knows."""
    told = {"content_too_large": too_large_text(max_body)}
    found = EXAMPLES.get(described.id, {})
    if "request" in found:
        operation["requestBody"]["content"][JSON]["example"] = found["request"]
    success = operation["responses"][str(described.status)]
    for media_type, name in ((JSON, "answer"), (CSV, "csv")):
        if name in found:
            success["content"][media_type]["example"] = found[name]
    if described.links:
        success["links"] = {
            name: {"operationId": name, "parameters": dict(parameters)}
            for name, parameters in described.links.items()
        }
    for status, codes in described.codes_by_status().items():
        refusal = operation["responses"][str(status)]
        refusal[CODES] = codes
        examples = {code: found.get("problems", {}).get(code) for code in codes}
        if status in _SAY_THE_SAME and status not in described.problems:
            missing = [code for code in codes if not examples[code]]
            examples |= {code: body_of(code, told.get(code, "")) for code in missing}
        shown = {code: {"value": one} for code, one in examples.items() if one}
        if shown:
            refusal["content"][CONTENT_TYPE]["examples"] = shown
