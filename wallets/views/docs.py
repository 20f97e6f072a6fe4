"""The OpenAPI document, its page, and a page for each problem."""

from __future__ import annotations

import functools
import threading
from typing import Any

from django.http import Http404, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.renderers import BaseRenderer, JSONRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from wallets.views.http.rest_framework import Endpoint, no_content
from wallets.views.problems.catalogue import PROBLEMS
from wallets.views.problems.problem import Problem
from wallets.views.problems.problem_response import TYPE_PREFIX
from wallets.views.schema.document import document

# A page loads nothing from other hosts, and sends nothing to them.
_PAGE_POLICY = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
_UI_POLICY = (
    f"{_PAGE_POLICY}; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'none'"
)
_TEXT_POLICY = (
    f"{_PAGE_POLICY}; style-src 'unsafe-inline'; img-src data:; form-action 'none'"
)
# These answers change only with a release.
_CACHED = {"Cache-Control": "public, max-age=300"}


class SchemaView(Endpoint):
    """GET /api/schema/: JSON, or YAML by Accept."""

    is_open = True
    schema = None
    renderer_classes = [
        OpenApiJsonRenderer2,
        OpenApiJsonRenderer,
        OpenApiYamlRenderer2,
        OpenApiYamlRenderer,
    ]

    def get(self, request: Request) -> HttpResponse:
        renderer = request.accepted_renderer
        charset = f"; charset={renderer.charset}" if renderer.charset else ""
        return HttpResponse(
            written()[type(renderer)],
            content_type=renderer.media_type + charset,
            headers=_CACHED,
        )


_writing = threading.Lock()


def written() -> dict[type[BaseRenderer], bytes]:
    """Return the document by renderer. The first call takes a third of a second.

    Other threads wait for it: drf-spectacular fails if two make the document at once.
    """
    with _writing:
        return _written()


@functools.cache
def _written() -> dict[type[BaseRenderer], bytes]:
    made = document()
    texts = {each: each().render(made) for each in SchemaView.renderer_classes}
    return {
        each: text.encode() if isinstance(text, str) else text
        for each, text in texts.items()
    }


class DocsView(SpectacularSwaggerSplitView):
    """GET /api/docs/: Swagger UI, loaded from this server only."""

    schema = None

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Only the Allow header, as for every endpoint."""
        return no_content()

    def finalize_response(
        self, request: Any, response: Any, *args: Any, **kwargs: Any
    ) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers["Content-Security-Policy"] = _UI_POLICY
        return response


class ProblemListView(Endpoint):
    """GET /problems/: all problems."""

    is_open = True
    schema = None
    renderer_classes = [JSONRenderer, TemplateHTMLRenderer]

    def get(self, request: Request) -> Response:
        return _page(
            request, list(PROBLEMS.values()), [_told(p) for p in PROBLEMS.values()]
        )


class ProblemView(Endpoint):
    """GET /problems/<code>: the meaning of a problem's `type`."""

    is_open = True
    schema = None
    renderer_classes = [JSONRenderer, TemplateHTMLRenderer]

    def get(self, request: Request, code: str) -> Response:
        if code not in PROBLEMS:
            raise Http404
        return _page(request, [PROBLEMS[code]], _told(PROBLEMS[code]))


def _told(problem: Problem) -> dict[str, Any]:
    return {
        "type": f"{TYPE_PREFIX}{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "explanation": problem.explanation,
    }


def _marked(text: str) -> SafeString:
    """Return the text as HTML; text between backticks becomes code."""
    parts = text.split("`")
    marks = ("{}", "<code>{}</code>")
    return format_html("".join(marks[index % 2] for index in range(len(parts))), *parts)


def _page(request: Request, shown: list[Problem], data: Any) -> Response:
    if not isinstance(request.accepted_renderer, TemplateHTMLRenderer):
        return Response(data, headers=_CACHED)
    return Response(
        {
            "problems": [(each, _marked(each.explanation)) for each in shown],
            "all": len(shown) > 1,
        },
        template_name="wallets/problems.html",
        headers=_CACHED | {"Content-Security-Policy": _TEXT_POLICY},
    )
