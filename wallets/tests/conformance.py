"""Compares every answer that a test gets with the OpenAPI document.

The document allows further members in answers, for later releases. Here they are not
allowed: this release documents every member and every value of an enum.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from django.urls import Resolver404, resolve
from drf_spectacular.renderers import OpenApiJsonRenderer
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import FormatError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from wallets.utils.limits import UUID_PATTERN
from wallets.views.schema.document import CODES, document

ROOT = "urn:openapi"
# The forms that answers have; the definitions of the formats allow more.
PATTERNS = {
    "date-time": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z",
    "uuid": UUID_PATTERN,
    "uri": rf"http://[^/]+/\w+/{UUID_PATTERN}/(transactions/[1-9][0-9]*/)?",
    "uri-reference": "/problems/[a-z_]+",
}


def assert_documented(method: str, path: str, response: Any) -> None:
    """Check that the document describes the answer, if it has the path and method."""
    operation = _operation("GET" if method == "HEAD" else method, path)
    if operation is None:
        return
    documented = operation["responses"].get(str(response.status_code))
    where = f"{method} {path[:80]} → {response.status_code}"
    assert documented, f"{where} is not documented: wallets/views/schema/"
    media_type = response.headers["Content-Type"].partition(";")[0]
    assert media_type in documented["content"], f"{where}: {media_type}"
    for name, header in documented.get("headers", {}).items():
        value = response.headers.get(name)
        csv = media_type == "text/csv"
        assert value is not None or csv or not header.get("required"), (where, name)
        if value is not None:
            _validator(json.dumps(header["schema"])).validate(value)
    if media_type.endswith("json") and method != "HEAD":
        schema = documented["content"][media_type]["schema"]
        answer = json.loads(response.content)
        _validator(json.dumps(schema)).validate(answer)
        if CODES in documented:
            assert answer["code"] in documented[CODES], f"{where}: {answer['code']}"


@cache
def as_published() -> dict[str, Any]:
    """Return the document as clients get it."""
    return json.loads(OpenApiJsonRenderer().render(document()))


@cache
def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Return every operation of the document by method and path."""
    return {
        (method.upper(), path): operation
        for path, item in as_published()["paths"].items()
        for method, operation in item.items()
    }


def _operation(method: str, path: str) -> dict[str, Any] | None:
    try:
        route = resolve(path.partition("?")[0]).route
    except (Resolver404, UnicodeError, ValueError):
        return None
    template = "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)
    known = operations()
    # Actions are documented without the trailing slash, which they also accept.
    return known.get((method, template)) or known.get((method, template.rstrip("/")))


class Formats(FormatChecker):
    """Checks every text by the pattern of its format."""

    def check(self, instance: object, format: str) -> None:
        known = isinstance(instance, str) and format in PATTERNS
        if known and not re.fullmatch(PATTERNS[format], str(instance)):
            raise FormatError(f"{instance!r} is no {format} of ours")


@cache
def _validator(schema: str) -> Draft202012Validator:
    resource = Resource(contents=_closed(as_published()), specification=DRAFT202012)
    rooted = json.loads(schema.replace('"#/', f'"{ROOT}#/'))
    registry = Registry().with_resource(ROOT, resource)
    return Draft202012Validator(rooted, registry=registry, format_checker=Formats())


def _closed(schema: Any) -> Any:
    """Return the schema without further members and values."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(each) for name, each in schema.items()}
    if "properties" in schema and "type" in schema:
        closed.setdefault("additionalProperties", False)
    if "x-extensible-enum" in schema:
        null = [None] if "null" in schema["type"] else []
        closed["enum"] = [*schema["x-extensible-enum"], *null]
    return closed
