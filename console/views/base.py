"""The base of all pages: access, no caching, errors as pages."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django_htmx.http import HttpResponseClientRedirect

from console.access import OPERATE, in_words, not_to_see
from wallets.utils.actors import operator
from wallets.views.problems.from_exceptions import csrf_failure

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponse]


def page(*models: str) -> Callable[[View], View]:
    """Admit staff who may see rows of these models; send others to the login.

    Errors are shown as pages. Without a model all staff may see the page.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                if not (request.user.is_active and request.user.is_staff):
                    return _to_login(request)
                if lacking := not_to_see(request.user, models):
                    raise PermissionDenied(f"To see this page, ask for {lacking}.")
                response = view(request, *args, **kwargs)
            except Http404 as error:
                response = problem(request, "Not found", str(error), status=404)
            except PermissionDenied as error:
                response = problem(request, "Not allowed", str(error), status=403)
            except (OperationalError, InterfaceError) as error:
                logger.error("database unavailable: %s", type(error).__name__)
                response = _outage()
            add_never_cache_headers(response)
            return response

        return shown

    return decorate


def page_for(permission: str) -> Callable[[View], View]:
    """As `page`, for staff who have this permission to act."""

    def decorate(view: View) -> View:
        @page()
        @functools.wraps(view)
        def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied(
                    f"To act, and not only look, ask for {in_words(permission)}."
                )
            return view(request, *args, **kwargs)

        return shown

    return decorate


def operator_page(view: View) -> View:
    """As `page`, for staff who may act."""
    return page_for(OPERATE)(view)


@page()
def nowhere(request: HttpRequest, rest: str) -> HttpResponse:
    """Any other path under /console/."""
    raise Http404("There is no such page.")


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW; usually the page is older than the login."""
    if not request.path.startswith(reverse("console:overview")):
        return csrf_failure(request, reason)
    detail = "This page is too old, or not from here. Nothing was done: open it again."
    return problem(request, "Not done", detail, status=403)


def actor(request: HttpRequest) -> str:
    """Return the actor's name for the services."""
    return operator(request.user)


def is_htmx(request: HttpRequest) -> bool:
    """Whether a part of a page is requested."""
    return request.headers.get("HX-Request") == "true"


def next_query(request: HttpRequest, cursor: object | None) -> str:
    """Return the query of the next page of a list; "" if there is none."""
    if cursor is None:
        return ""
    query = request.GET.copy()
    query["after"] = str(cursor)
    return query.urlencode()


def problem(
    request: HttpRequest, title: str, detail: str, *, status: int
) -> HttpResponse:
    """Return an error page of the console."""
    context = {"title": title, "detail": detail}
    return render(request, "console/problem.html", context, status=status)


def _outage() -> HttpResponse:
    """Return a page that needs no database, not even for the user."""
    return HttpResponse(render_to_string("console/outage.html"), status=503)


def _to_login(request: HttpRequest) -> HttpResponse:
    login = reverse("console:login")
    if is_htmx(request):
        # Redirect the whole page, not a part of it.
        return HttpResponseClientRedirect(login)
    return redirect(f"{login}?{urlencode({'next': request.get_full_path()})}")
