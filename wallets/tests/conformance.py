"""Holds every answer that a test gets against the OpenAPI document."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from django.urls import Resolver404, resolve
from drf_spectacular.renderers import OpenApiJsonRenderer
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from wallets.views.schema.document import document

ROOT = "urn:openapi"


def assert_documented(method: str, path: str, response: Any) -> None:
    """The answer is one that the document announces, if it has the path and method."""
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
        _validator(json.dumps(schema)).validate(json.loads(response.content))


@cache
def as_published() -> dict[str, Any]:
    """The document as clients get it."""
    return json.loads(OpenApiJsonRenderer().render(document()))


@cache
def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation of the document by method and path."""
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
    # Actions are documented without the trailing slash that they also take.
    return known.get((method, template)) or known.get((method, template.rstrip("/")))


@cache
def _validator(schema: str) -> Draft202012Validator:
    resource = Resource(contents=as_published(), specification=DRAFT202012)
    rooted = json.loads(schema.replace('"#/', f'"{ROOT}#/'))
    registry = Registry().with_resource(ROOT, resource)
    return Draft202012Validator(rooted, registry=registry)
