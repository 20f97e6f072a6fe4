"""Finds out who calls, before anything else of a request is looked at.

The setting `API_AUTHENTICATION` names a function of a scope and a `Request` that returns
the `Caller`, or raises what `views.problems.from_exceptions` maps to a problem. A scope
is what the caller needs: "deposits:write"; "": it only must be somebody. The function
also runs on the event loop of the ASGI application: there it neither waits nor uses the
database. If its module has a function `start`, each process of the ASGI server calls it
before the first request, in a thread. If it has a text `NOT_PERMITTED`, that is the
challenge (`WWW-Authenticate`) of a refusal whatever scopes the caller has.

Without the setting everybody may call, as the specification has it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from django.conf import settings

from wallets.utils.caller import ANYBODY, Caller
from wallets.views.problems.problem_response import RequestRefused

if TYPE_CHECKING:
    from wallets.views.http.request import Request

# The scope of a request that no operation serves: its caller only must be somebody.
SOMEBODY = ""


def admit(scope: str | None, request: Request) -> None:
    """Set the caller of the request. None: anybody may call.

    :raises Exception: one that `views.problems.from_exceptions` maps to a problem.
    """
    if scope is not None:
        request.caller = caller_of(scope, request)
    request.is_admitted = True


def caller_of(scope: str, request: Request) -> Caller:
    """Return the caller of this request, who has this scope.

    :raises Exception: one that `views.problems.from_exceptions` maps to a problem.
    """
    if not settings.API_AUTHENTICATION:
        return ANYBODY
    return _function(settings.API_AUTHENTICATION)(scope, request)


def not_permitted(detail: str) -> RequestRefused:
    """Return the refusal (403) of a caller whom no scope would help."""
    challenge = ""
    if settings.API_AUTHENTICATION:
        module, _, _ = settings.API_AUTHENTICATION.rpartition(".")
        challenge = getattr(import_module(module), "NOT_PERMITTED", "")
    headers = {"WWW-Authenticate": challenge} if challenge else {}
    return RequestRefused("forbidden", detail, headers=headers)


def start() -> None:
    """Prepare this process for its first request. It may wait some seconds."""
    if settings.API_AUTHENTICATION:
        module, _, _ = settings.API_AUTHENTICATION.rpartition(".")
        getattr(import_module(module), "start", lambda: None)()


@functools.cache
def _function(path: str) -> Callable[[str, Request], Caller]:
    module, _, name = path.rpartition(".")
    found: Callable[[str, Request], Caller] = getattr(import_module(module), name)
    return found
