"""The short way for deposits: what is plainly one does not pass through Django.

A deposit's own work is a fraction of what a request costs in the framework around it, so
it is called from here, at WSGI's door. The rules are the same functions' as on the long
way, and there is no refusal here: what is not plain is handed to Django untouched, and
with what was raised if it was refused or has failed. The measurements are in
docs/decisions/0011-a-short-way-for-deposits.md.
"""

from __future__ import annotations

import functools
import io
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.urls import resolve
from django.urls.converters import UUIDConverter

from wallets.models.transaction import Transaction
from wallets.serializers.deposit import deposit_answer, read_amount
from wallets.services.wallet import WalletService
from wallets.utils import clock, strict_json
from wallets.views import idempotent, metrics, request_log

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Headers = list[tuple[str, str]]

_PATH = re.compile(f"/wallets/({UUIDConverter.regex})/deposit")
_LENGTH = re.compile("[1-9][0-9]{0,2}")
# Django may answer a cookie with one that is meant for its sender alone.
_UNUSUAL = {"HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_ENCODING", "HTTP_COOKIE"}
# What differs between two answers to deposits of one kind, and what is somebody's own.
_OWN = {"content-length", "x-request-id", "idempotent-replayed"}
_PRIVATE = {"set-cookie", "vary"}
# Where Django finds what the service has raised: no header has such a name.
RAISED = "wallets.raised"
# Clients choose what makes a kind; no memory is theirs to fill.
MAX_KINDS = 100


class Express:
    """A WSGI application in front of Django's: answers plain deposits, hands on the rest.

    Whether a host is served, a connection must be secure, a form of answer can be had,
    and which headers an answer has, it learns from Django's answer to the first deposit
    of a kind: that is what such requests may differ in.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._headers: dict[tuple[Any, ...], Headers] = {}

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        path = _PATH.fullmatch(environ.get("PATH_INFO", ""))
        if path is None or not _is_plain(environ):
            return self._application(environ, start_response)
        kind = tuple(map(environ.get, ("wsgi.url_scheme", "HTTP_HOST", "HTTP_ACCEPT")))
        headers = self._headers.get(kind)
        if headers is None:
            return self._application(environ, self._learning(kind, start_response))
        return self._deposit(
            uuid.UUID(path[1]), headers, environ, start_response
        ) or self._application(environ, start_response)

    def _learning(
        self, kind: tuple[Any, ...], start_response: StartResponse
    ) -> StartResponse:
        def learn(status: str, headers: Headers, *more: Any) -> Any:
            names = {name.lower() for name, _ in headers}
            full = len(self._headers) >= MAX_KINDS
            if status == "200 OK" and names.isdisjoint(_PRIVATE) and not full:
                self._headers[kind] = [
                    (name, value) for name, value in headers if name.lower() not in _OWN
                ]
            return start_response(status, headers, *more)

        return learn

    def _deposit(
        self,
        wallet: uuid.UUID,
        headers: Headers,
        environ: Environ,
        start_response: StartResponse,
    ) -> list[bytes] | None:
        """Make the deposit and answer; None where Django must."""
        began = clock.elapsed()
        request_started.send(sender=type(self), environ=environ)
        with request_log.identified(environ.get("HTTP_X_REQUEST_ID", "")) as request_id:
            deposit = _made(wallet, environ)
            if deposit is None:
                # What was logged so far and what Django logs is about one request.
                environ["HTTP_X_REQUEST_ID"] = request_id
                return None
            content = orjson.dumps(deposit_answer(deposit))
            start_response(
                "200 OK",
                [
                    *headers,
                    ("Content-Length", str(len(content))),
                    (request_log.HEADER, request_id),
                    *idempotent.headers_of(deposit, deposit.idempotency_key).items(),
                ],
            )
            request_log.write("POST", environ["PATH_INFO"], 200, began)
        if settings.METRICS_ENABLED:
            metrics.count("POST", _route(), 200, began)
        request_finished.send(sender=type(self))
        return [content]


@functools.cache
def _route() -> str:
    """What `metrics.count_requests` calls the path of every deposit."""
    return resolve(f"/wallets/{uuid.UUID(int=0)}/deposit").route


def _is_plain(environ: Environ) -> bool:
    """Whether the request has the form that nearly every deposit has."""
    return (
        environ["REQUEST_METHOD"] == "POST"
        and environ.get("RAW_URI", environ["PATH_INFO"]) == environ["PATH_INFO"]
        and not environ.get("SCRIPT_NAME")
        and not environ.get("QUERY_STRING")
        and environ.get("CONTENT_TYPE") == "application/json"
        and _LENGTH.fullmatch(environ.get("CONTENT_LENGTH", "")) is not None
        and "HTTP_IDEMPOTENCY_KEY" in environ
        and "HTTP_HOST" in environ
        and environ.keys().isdisjoint(_UNUSUAL)
    )


def _made(wallet: uuid.UUID, environ: Environ) -> Transaction | None:
    """The deposit that the request asks for, committed; None where it is not."""
    length = int(environ["CONTENT_LENGTH"])
    try:
        key = idempotent.parse(environ["HTTP_IDEMPOTENCY_KEY"])
        # What could not be read in its time is not read again.
        stream, environ["wsgi.input"] = environ["wsgi.input"], io.BytesIO()
        body = stream.read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        fields = strict_json.loads(body)
        if len(body) < length or not isinstance(fields, dict):
            return None
        amount = read_amount(fields)
    except Exception:  # noqa: BLE001 (each server has errors of its own)
        return None
    try:
        return WalletService.deposit(wallet, amount, key)
    except Exception as error:  # noqa: BLE001 (raised again below Django)
        environ[RAISED] = error
        return None


def raise_again(environ: Environ) -> None:
    """Raise what the service has raised on the short way: it is not asked twice."""
    error = environ.get(RAISED)
    if error is not None:
        raise error
