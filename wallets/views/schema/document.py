"""Puts the document together, and hands it to drf-spectacular operation by operation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema

from wallets.views import problems
from wallets.views.catalogue import PROBLEMS
from wallets.views.schema import bulk
from wallets.views.schema.components import (
    ID,
    SCHEMAS,
    UUID_PATTERN,
    Schema,
    problem,
    said,
)
from wallets.views.schema.operation import Operation
from wallets.views.schema.operations import OPERATIONS

# Requests and answers as they were; a test makes them again and compares.
EXAMPLES: dict[str, Any] = json.loads(
    Path(__file__).with_name("examples.json").read_text(encoding="utf-8")
)

_PATH: dict[str, Schema] = {
    "wallet_uuid": said(
        {"type": "string", "format": "uuid", "pattern": UUID_PATTERN},
        "The wallet, in the canonical lower-case form.",
    ),
    "transaction_id": said(ID, "The transaction."),
}
_KEY = (
    '^("?)[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-'
    "[0-9A-Fa-f]{12}\\1$"
)
_HEADERS: dict[str, Schema] = {
    "Location": said({"type": "string", "format": "uri"}, "Where the new one is."),
    "Link": said(
        {"type": "string", "pattern": '^(<[^>]+>; rel="next", )?<[^>]+>; rel="first"$'},
        "RFC 8288: the first page and, where one follows, the next.",
    ),
    "Idempotent-Replayed": said(
        {"const": "true"}, "The key was used before: this is its first answer again."
    ),
    "Retry-After": said(
        {"type": "string", "pattern": "^[0-9]+$"}, "Seconds to wait before repeating."
    ),
    "Allow": said({"type": "string"}, "The methods that the path takes."),
}
_RETRY = {"request_in_progress", "service_unavailable"}


class WalletSchema(AutoSchema):
    """Takes an operation from the table instead of guessing it from the code."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any
    ) -> dict[str, Any] | None:
        return describe(OPERATIONS[type(self.view)][method], path)


def describe(operation: Operation, path: str) -> dict[str, Any]:
    """The operation as OpenAPI has it."""
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "parameters": list(_parameters(operation, path)),
    }
    if operation.takes_body:
        described["requestBody"] = _body(operation)
    described["responses"] = {str(operation.status): _success(operation)} | {
        str(status): _refusal(operation, status) for status in _statuses(operation)
    }
    return described


def add_components(result: dict[str, Any], **_options: Any) -> dict[str, Any]:
    """A hook of drf-spectacular: the shapes that the operations refer to."""
    schemas = SCHEMAS | bulk.SCHEMAS
    for methods in OPERATIONS.values():
        for operation in methods.values():
            for status in _statuses(operation):
                codes = _codes(operation, status)
                extra = operation.extra.get(status, {})
                schemas[_name(operation, codes)] = problem(codes, extra)
    return result | {"components": {"schemas": schemas}}


@cache
def document() -> dict[str, Any]:
    """The whole document: the same for everybody, as long as the process lives."""
    return SchemaGenerator().get_schema(request=None, public=True)


def _parameters(operation: Operation, path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        yield _parameter(name, "path", _PATH[name], required=True)
    if operation.has_key:
        schema: Schema = {"type": "string", "pattern": _KEY}
        text = (
            "A UUID of your own, bare or in double quotes. The same request with it has "
            "one effect and one answer; another request with it is refused."
        )
        yield _parameter("Idempotency-Key", "header", said(schema, text))
    for name, schema in operation.query.items():
        yield _parameter(name, "query", schema)


def _parameter(
    name: str, where: str, schema: Schema, *, required: bool = False
) -> dict[str, Any]:
    schema = dict(schema)
    text = schema.pop("description")
    parameter = {"name": name, "in": where, "description": text, "schema": schema}
    return parameter | ({"required": True} if required else {})


def _body(operation: Operation) -> dict[str, Any]:
    if not operation.request:
        nothing: Schema = {"type": "object", "additionalProperties": False}
        return {"content": {"application/json": {"schema": nothing}}}
    content: dict[str, Any] = {
        "schema": {"$ref": f"#/components/schemas/{operation.request}"}
    }
    example = EXAMPLES.get(operation.id, {}).get("request")
    if example:
        content["example"] = example
    return {"required": True, "content": {"application/json": content}}


def _success(operation: Operation) -> dict[str, Any]:
    examples = EXAMPLES.get(operation.id, {})
    content: dict[str, Any] = {"application/json": {"schema": operation.answer}}
    if "answer" in examples:
        content["application/json"]["example"] = examples["answer"]
    if operation.csv:
        content["text/csv"] = {"schema": {"type": "string"}}
        if "csv" in examples:
            content["text/csv"]["example"] = examples["csv"]
    # CSV has no pages, so its Link is not always there.
    answer: dict[str, Any] = {"description": operation.summary + "."}
    if operation.headers:
        answer["headers"] = {
            name: _header(name, always and not operation.csv)
            for name, always in operation.headers.items()
        }
    answer["content"] = content
    if operation.links:
        answer["links"] = {
            name: {"operationId": name, "parameters": parameters}
            for name, parameters in operation.links.items()
        }
    return answer


def _refusal(operation: Operation, status: int) -> dict[str, Any]:
    codes = _codes(operation, status)
    lines = [f"- `{code}`: {PROBLEMS[code].explanation}" for code in codes]
    text = "\n".join(lines) if len(codes) > 1 else lines[0][2:]
    if status == 405:
        text += " (Answered to any other method of this path.)"
    answer: dict[str, Any] = {"description": text}
    headers = {}
    if _RETRY & set(codes):
        headers["Retry-After"] = _header("Retry-After", _RETRY.issuperset(codes))
    if status == 405:
        headers["Allow"] = _header("Allow", True)
    if headers:
        answer["headers"] = headers
    media: dict[str, Any] = {
        "schema": {"$ref": f"#/components/schemas/{_name(operation, codes)}"}
    }
    found = EXAMPLES.get(operation.id, {}).get("problems", {})
    shown = {code: {"value": found[code]} for code in codes if code in found}
    if shown:
        media["examples"] = shown
    return answer | {"content": {problems.CONTENT_TYPE: media}}


def _header(name: str, always: bool) -> dict[str, Any]:
    schema = dict(_HEADERS[name])
    header = {"description": schema.pop("description"), "schema": schema}
    return header | ({"required": True} if always else {})


def _statuses(operation: Operation) -> list[int]:
    return sorted({PROBLEMS[code].status for code in operation.codes})


def _codes(operation: Operation, status: int) -> list[str]:
    known = set(operation.codes)
    return [
        code
        for code, problem in PROBLEMS.items()
        if code in known and problem.status == status
    ]


def _name(operation: Operation, codes: list[str]) -> str:
    """A component's name: of the code, or of the operation that has these codes."""
    status = PROBLEMS[codes[0]].status
    alone = len(codes) == 1 and status not in operation.extra
    words = codes[0] if alone else operation.id
    name = "".join(word.capitalize() for word in words.split("_"))
    return f"{name}Problem" if alone else f"{name}Problem{status}"
