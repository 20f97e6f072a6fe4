"""Maps exceptions to problems: the only place where refusals meet HTTP.

An exception that is not listed here is a bug: it is logged with its stack, and the
client gets `internal_error` without details.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions

from wallets.errors import (
    InvalidInput,
    LostRace,
    NotCancelable,
    NotReschedulable,
    Refusal,
)
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.wallet import Wallet
from wallets.services.requests.checks import UnknownWallet
from wallets.utils.database.transactions import is_lock_timeout
from wallets.views.http.right_path import right_path
from wallets.views.problems import problem_response
from wallets.views.problems.catalogue import PROBLEMS
from wallets.views.problems.problem_response import FieldError, RequestRefused

logger = logging.getLogger(__name__)

# Retry-After, in seconds.
RETRY_AFTER_CONTENTION = "1"
RETRY_AFTER_OUTAGE = "5"
# The most errors in an answer; a body can have thousands of unknown fields.
MAX_ERRORS = 10


def handle(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Return the answer to an exception of a view; None for a bug."""
    for kinds, make in _HANDLERS:
        if isinstance(error, kinds):
            return make(error, context)
    return None


def problem_of(error: Exception) -> dict[str, Any]:
    """Return the problem of one refused item of many.

    :raises Exception: the error itself, if it is a bug.
    """
    response = handle(error, {})
    if response is None:
        raise error
    return json.loads(response.content)


def _refused(error: RequestRefused, _context: dict[str, Any]) -> HttpResponse:
    return _with_errors(error.errors, error.code, error.detail, error.headers)


def _with_errors(
    errors: list[FieldError],
    code: str = "",
    detail: str = "",
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """A single error gives the problem its code; several get a general one."""
    if not code:
        code = errors[0].code if len(errors) == 1 else "invalid_request"
        detail = errors[0].detail if len(errors) == 1 else ""
    few = errors[:MAX_ERRORS]
    return problem_response.answer(code, detail, errors=few, headers=headers)


def _invalid_fields(
    error: exceptions.ValidationError, _context: dict[str, Any]
) -> HttpResponse:
    """The serializers' errors: one list of details for each field."""
    found: Any = error.detail
    return _with_errors(
        [
            FieldError(field, detail.code, str(detail))
            for field, details in found.items()
            for detail in details
        ]
    )


def _invalid_input(error: InvalidInput, _context: dict[str, Any]) -> HttpResponse:
    return _with_errors([FieldError(error.field, error.code, str(error))])


def _too_late(
    error: NotCancelable | NotReschedulable, _context: dict[str, Any]
) -> HttpResponse:
    status = State(error.state).status
    done = "cancelled" if isinstance(error, NotCancelable) else "rescheduled"
    detail = f"The transaction is {status} and cannot be {done}."
    return problem_response.answer(
        error.code, detail, members={"transaction_status": status}
    )


def _unknown_wallet(error: UnknownWallet, _context: dict[str, Any]) -> HttpResponse:
    code = "wallet_not_found"
    detail = PROBLEMS[code].explanation
    return _with_errors([FieldError(error.field, code, detail)], code)


def _refusal(error: Refusal, _context: dict[str, Any]) -> HttpResponse:
    return problem_response.answer(error.code, str(error))


def _database(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Trouble with the database, after the services' own retries."""
    # A repeated request waits for the unique key of the first one.
    has_key = "idempotency-key" in context["request"].headers
    if isinstance(error, LostRace) or (has_key and is_lock_timeout(error)):
        headers = {"Retry-After": RETRY_AFTER_CONTENTION}
        return problem_response.answer("request_in_progress", headers=headers)
    logger.error("database unavailable: %s", type(error).__name__)
    headers = {"Retry-After": RETRY_AFTER_OUTAGE}
    return problem_response.answer("service_unavailable", headers=headers)


def _plain(code: str) -> Callable[[Exception, dict[str, Any]], HttpResponse]:
    return lambda _error, _context: problem_response.answer(code)


# The first match counts, so special types come before general ones.
_HANDLERS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Any], ...] = (
    (RequestRefused, _refused),
    (exceptions.ValidationError, _invalid_fields),
    (InvalidInput, _invalid_input),
    ((NotCancelable, NotReschedulable), _too_late),
    (Refusal, _refusal),
    (UnknownWallet, _unknown_wallet),
    (Wallet.DoesNotExist, _plain("wallet_not_found")),
    (Transaction.DoesNotExist, _plain("transaction_not_found")),
    (Transfer.DoesNotExist, _plain("transfer_not_found")),
    ((OperationalError, InterfaceError, LostRace), _database),
    (Http404, _plain("not_found")),
    (exceptions.MethodNotAllowed, _plain("method_not_allowed")),
    (exceptions.NotAcceptable, _plain("not_acceptable")),
    ((SuspiciousOperation, BadRequest), _plain("bad_request")),
)


def bad_request(_request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's `handler400`: requests that Django refuses, such as an unknown Host."""
    return problem_response.answer("bad_request")


def permission_denied(_request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's `handler403`."""
    return problem_response.answer("forbidden")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's `handler404`."""
    right = right_path(request.path_info)
    if right is None:
        return problem_response.answer("not_found")
    detail = f"There is nothing at this path. Its right form is {right}"
    return problem_response.answer("not_found", detail)


def csrf_failure(_request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW, when there is no console."""
    return problem_response.answer("forbidden")


def server_error(_request: HttpRequest) -> HttpResponse:
    """Django's `handler500`: a bug, or no database; Django has logged it."""
    if isinstance(sys.exc_info()[1], (OperationalError, InterfaceError)):
        headers = {"Retry-After": RETRY_AFTER_OUTAGE}
        return problem_response.answer("service_unavailable", headers=headers)
    return problem_response.answer("internal_error")
