"""The short way for deposits: what is plainly one does not pass through Django.

A deposit's own work is a fraction of what a request costs in the framework and the server
around it, so the server (`wallet.server`) reads and answers plain ones by these functions,
many together. The rules are the same functions' as on the long way, and there is no
refusal here: what is not plain, and what cannot be done, is left to Django, untouched. The
measurements are in docs/decisions/0011-a-door-for-deposits.md.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.urls.converters import UUIDConverter

from wallets.models.transaction import Transaction
from wallets.serializers.deposit import read_amount
from wallets.services.deposit import DepositRequest, Made
from wallets.services.deposit_group import DepositGroup
from wallets.utils import clock, strict_json
from wallets.views import express_many, idempotent, request_log
from wallets.views.deposit import write_answer
from wallets.views.short_way import Fields, in_a_request, tell

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Kind = tuple[str | None, ...]

_PATH = f"/wallets/({UUIDConverter.regex})/deposit"
_EXAMPLE = f"/wallets/{uuid.UUID(int=0)}/deposit"
_START = re.compile(f"POST {_PATH} HTTP/1\\.1")
# A narrow form of RFC 9112's field lines: what every server reads in the same way.
_FIELD = re.compile("([A-Za-z0-9-]+): ?([!-~](?:[ -~]*[!-~])?)")
_LENGTH = re.compile("[1-9][0-9]{0,2}")
# Longer requests, and with more fields, are no plain deposits. (The server refuses too many.)
MAX_BYTES = 4096
MAX_FIELDS = 50
# What a request must not have. Django may answer a cookie with one that is meant for its
# sender alone; the others ask for something of the server.
_UNUSUAL = {
    *("cookie", "transfer-encoding", "content-encoding", "expect", "upgrade"),
    *("http2-settings", "te", "trailer", "proxy-connection", "keep-alive"),
}
# What a proxy says of how it was asked. The server believes it only from some addresses.
_FORWARDED = ("x-forwarded-proto", "x-forwarded-protocol", "x-forwarded-ssl")
# What differs between two answers to deposits of one kind, and what is somebody's own.
_OWN = {"content-length", "x-request-id", "idempotent-replayed"}
_PRIVATE = {"set-cookie", "vary"}
# Clients choose what makes a kind; no memory is theirs to fill. The oldest one is forgotten.
MAX_KINDS = 100


class Learnt(NamedTuple):
    """The header fields that Django's answers of one kind share; and as they are sent."""

    fields: Fields
    lines: bytes


class Incomplete(EOFError):
    """What has come so far may become a plain deposit."""


@dataclass
class Asked:
    """A plain deposit that a client has asked for."""

    deposit: DepositRequest
    path: str
    request_id: str
    began: float
    headers: bytes


class Express:
    """A WSGI application that hands everything on to Django's, and learns from it.

    Whether a host is served, a connection must be secure, a form of answer can be had,
    and which headers an answer has, it learns from Django's answer to the first deposit
    of a kind: that is what such requests may differ in. Later ones are read and answered
    by `read` and `deposit`.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._learnt: dict[Kind, Learnt] = {}
        self._learns = threading.Lock()
        self._group = DepositGroup()

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path != express_many.PATH and not re.fullmatch(_PATH, path):
            return self._application(environ, start_response)
        fields = {
            name[5:].lower().replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        many = path if path == express_many.PATH else None
        kind = (many, *_kind_of(fields, environ.get("REMOTE_ADDR", "")))
        learnt = self._learnt.get(kind)
        if learnt is None:
            start_response = self._learning(kind, start_response)
        elif many and "host" in fields and fields.keys().isdisjoint(_UNUSUAL):
            answer = express_many.answer(environ)
            if answer is not None:
                start_response("200 OK", learnt.fields + answer.fields)
                return [answer.content]
        return self._application(environ, start_response)

    def _learning(self, kind: Kind, start_response: StartResponse) -> StartResponse:
        def learn(status: str, headers: Fields, *more: Any) -> Any:
            names = {name.lower() for name, _ in headers}
            if status == "200 OK" and names.isdisjoint(_PRIVATE):
                shared = [one for one in headers if one[0].lower() not in _OWN]
                with self._learns:
                    self._learnt[kind] = Learnt(shared, _lines(shared))
                    while len(self._learnt) > MAX_KINDS:
                        del self._learnt[next(iter(self._learnt))]
            return start_response(status, headers, *more)

        return learn

    def read(self, data: bytes, address: str) -> Asked | None:
        """Return what the bytes of one request ask for; None where Django must see it.

        :raises Incomplete: more bytes have to come.
        """
        began = clock.elapsed()
        if not data.startswith(b"POST /wallets/") or len(data) > MAX_BYTES:
            return None
        try:
            head, whole, body = data.decode("ascii").partition("\r\n\r\n")
        except UnicodeDecodeError:
            return None
        if not whole:
            raise Incomplete
        first, *lines = head.split("\r\n")
        start = _START.fullmatch(first)
        fields = _fields(lines)
        if start is None or fields is None or not _is_plain(fields):
            return None
        learnt = self._learnt.get((None, *_kind_of(fields, address)))
        left = int(fields["content-length"]) - len(body)
        if learnt is None or left < 0:
            return None
        if left > 0:
            raise Incomplete
        try:
            key = idempotent.parse(fields["idempotency-key"])
            content = strict_json.loads(body.encode())
            if not isinstance(content, dict):
                return None
            amount = read_amount(content)
        except Exception:  # noqa: BLE001 (Django says what is wrong with it)
            return None
        return Asked(
            DepositRequest(start[1], amount, key),
            first[5:-9],
            request_log.id_of(fields.get("x-request-id", "")),
            began,
            learnt.lines,
        )

    def deposit(self, asked: Sequence[Asked]) -> list[bytes | None]:
        """Make the deposits, in one transaction; return headers and body of each answer.

        None where there is none: the deposit is refused or was made before, its wallet is
        locked. Django answers then.

        :raises DatabaseError: when it concerns all.
        """
        with in_a_request():
            made = self._group.deposit([one.deposit for one in asked])
        return [
            None if isinstance(deposit, Exception) else _render(one, deposit)
            for one, deposit in zip(asked, made, strict=True)
        ]


def _fields(lines: Sequence[str]) -> dict[str, str] | None:
    """The header fields by name; None if one is unusual, or there twice, or all too many."""
    if len(lines) > MAX_FIELDS:
        return None
    fields = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            return None
        fields[field[1].lower()] = field[2]
    return fields if len(fields) == len(lines) else None


def _is_plain(fields: dict[str, str]) -> bool:
    """Whether the request has the form that nearly every deposit has."""
    return (
        fields.get("content-type") == "application/json"
        and _LENGTH.fullmatch(fields.get("content-length", "")) is not None
        and "idempotency-key" in fields
        and "host" in fields
        and not any("idempoten" in name for name in fields if name != "idempotency-key")
        and fields.get("connection", "keep-alive").lower() == "keep-alive"
        and fields.keys().isdisjoint(_UNUSUAL)
    )


def _kind_of(fields: dict[str, str], address: str) -> Kind:
    forwarded = tuple(map(fields.get, _FORWARDED))
    whose = address if any(forwarded) else None
    return (fields.get("host"), fields.get("accept"), *forwarded, whose)


def _render(asked: Asked, deposit: Transaction | Made) -> bytes:
    content = write_answer(deposit).encode()
    tell(asked.path, asked.began, example=_EXAMPLE, request_id=asked.request_id)
    own = {
        "Content-Length": str(len(content)),
        request_log.HEADER: asked.request_id,
        **(idempotent.REPLAYED if deposit.replayed else {}),
    }
    return b"%b%b\r\n%b" % (asked.headers, _lines(own.items()), content)


def _lines(headers: Iterable[tuple[str, str]]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")
