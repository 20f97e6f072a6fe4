"""Writes problems (RFC 9457). `views.problems.from_exceptions` maps exceptions to problems."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.http import HttpResponse

from wallets.views.problems.catalogue import PROBLEMS

CONTENT_TYPE = "application/problem+json"
# `views.docs` explains the type; clients should compare `code`.
TYPE_PREFIX = "/problems/"


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field, header or query parameter."""

    field: str
    code: str
    detail: str


class RequestRefused(Exception):
    """A request that is refused for its form or its caller, raised by the views."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.headers = headers


def too_large(limit: int) -> RequestRefused:
    """Return the refusal of a body that is larger than this limit (bytes)."""
    return RequestRefused("content_too_large", too_large_text(limit))


def too_large_text(limit: int) -> str:
    """Return what the refusal says."""
    return f"The body is larger than {limit:,} bytes, the limit of this request."


def answer(
    code: str,
    detail: str = "",
    *,
    errors: Iterable[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> HttpResponse:
    """Return the problem with this code as a response; `members` extend it."""
    body = body_of(code, detail, errors) | dict(members or {})
    return HttpResponse(
        json.dumps(body, separators=(",", ":")),
        status=PROBLEMS[code].status,
        content_type=CONTENT_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def body_of(
    code: str, detail: str = "", errors: Iterable[FieldError] = ()
) -> dict[str, Any]:
    """Return the members of a problem, in order."""
    problem = PROBLEMS[code]
    return {
        "type": f"{TYPE_PREFIX}{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "detail": detail or problem.explanation,
        "errors": [asdict(error) for error in errors],
    }
