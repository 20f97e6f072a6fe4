"""The HTTP client of the bank. All HTTP to the bank is here, and nothing of the database.

What comes back is untrusted: only the documented bodies prove anything. A failure before
the connection stood proves that nothing was sent; any other leaves the outcome unknown.
No redirects, no proxies from the environment, no automatic retries.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import ssl
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings

from wallets.utils import clock, strict_json
from wallets.utils.bank import Abilities, Answer, Outcome, Payment
from wallets.utils.connections import Connection, NotSent
from wallets.utils.db import refuse_inside_transaction
from wallets.utils.http_answer import MAX_BODY_BYTES
from wallets.utils.http_calls import Caller, DeadlineOver, Result

MAX_REASON = 500
# In deadlines: for its own call, and for those that may be before it.
LOOK_UP_PATIENCE = 10


class HttpBank:
    """The specification's bank at `base_url`. Safe to share between threads.

    `deadline`: seconds a call may take in all, from connecting to the last byte;
    `connections`: how many calls may be under way at once.
    """

    connection_class = Connection

    def __init__(
        self,
        base_url: str,
        *,
        abilities: Abilities,
        deadline: float,
        connect_timeout: float,
        connections: int,
    ) -> None:
        url = urlsplit(base_url if "//" in base_url else f"//{base_url}")
        tls = url.scheme == "https"
        self._path = url.path.rstrip("/")
        self._host_header = url.netloc.rpartition("@")[2].encode("idna").decode()
        connect = functools.partial(
            self.connection_class.open,
            url.hostname or "localhost",
            url.port or (443 if tls else 80),
            tls=ssl.create_default_context() if tls else None,
            timeout=connect_timeout,
        )
        self._caller: Caller[Answer] = Caller(
            connect, deadline=deadline, size=connections
        )
        self._abilities = abilities
        self._deadline = deadline

    @property
    def abilities(self) -> Abilities:
        return self._abilities

    def pay(self, payment: Payment, *, send_before: float) -> Answer:
        """Ask the bank to pay; see `Bank.pay`."""
        call = self.pay_later(payment, send_before=send_before)
        # Nothing is sent after that moment, and every call ends.
        queueing = max(0.0, send_before - clock.elapsed())
        return self._wait(call, queueing + 2 * self._deadline)

    def pay_later(self, payment: Payment, *, send_before: float) -> Future[Answer]:
        """Ask the bank to pay, and wait for the answer elsewhere."""
        body = {
            "wallet_uuid": str(payment.wallet_uuid),
            "amount": payment.amount,
            "reference": str(payment.reference),
        }
        headers = (
            f"Idempotency-Key: {payment.reference}",
            "Content-Type: application/json",
        )
        content = json.dumps(body).encode()
        return self._call("POST", "/", payment, send_before, headers, content)

    def look_up(self, payment: Payment) -> Answer:
        """Ask the bank what became of a payment; see `Bank.look_up`."""
        path = f"/payments/{quote(str(payment.reference))}"
        call = self._call("GET", path, payment, float("inf"))
        return self._wait(call, LOOK_UP_PATIENCE * self._deadline)

    def _wait(self, call: Future[Answer], seconds: float) -> Answer:
        """The answer; unknown when our own client never comes to one."""
        try:
            return call.result(min(seconds, threading.TIMEOUT_MAX))
        except FutureTimeout:
            return Answer(Outcome.UNKNOWN, "no answer from our own client")

    def _call(
        self,
        method: str,
        path: str,
        payment: Payment,
        send_before: float,
        headers: tuple[str, ...] = (),
        content: bytes = b"",
    ) -> Future[Answer]:
        refuse_inside_transaction("the bank was called")
        return self._caller.submit(
            self._message(method, path, headers, content),
            functools.partial(_read, payment),
            send_before=send_before,
        )

    def _message(
        self, method: str, path: str, headers: tuple[str, ...], content: bytes
    ) -> bytes:
        """The whole request, to be sent in one piece."""
        lines = (
            f"{method} {self._path}{path} HTTP/1.1",
            f"Host: {self._host_header}",
            "Accept: application/json",
            *headers,
            f"Content-Length: {len(content)}",
            "",
            "",
        )
        return "\r\n".join(lines).encode("ascii") + content


def _read(
    payment: Payment, result: Result, sent_at: float | None
) -> tuple[Answer, bool]:
    """What a call's result proves; its connection is kept after the bank's own word."""
    if isinstance(result, NotSent):
        return Answer(Outcome.NOT_SENT, str(result)[:MAX_REASON]), False
    if isinstance(result, Exception):
        # Everything a network and a peer can do wrong, once bytes may have left.
        deadline = isinstance(result, DeadlineOver)
        reason = "deadline" if deadline else f"{type(result).__name__}: {result}"
        return Answer(Outcome.UNKNOWN, reason[:MAX_REASON]), False
    if result.media_type != "application/json":
        # A page of some proxy or framework: kept as evidence, proves nothing.
        return Answer(Outcome.UNKNOWN, _text(result.body), result.status), False
    answer = read_answer(result.status, result.body, payment)
    answer = replace(answer, sent_at=sent_at)
    return answer, answer.outcome is not Outcome.UNKNOWN


_SUCCESS = {"data": "success", "status": 200}
_FAILED = {"data": "failed", "status": 503}
_UNKNOWN_REFERENCE = {"data": "unknown", "status": 404}


def read_answer(http_status: int, raw: bytes, payment: Payment) -> Answer:
    """Say what the bank's answer proves. What is not documented proves nothing."""
    outcome = Outcome.UNKNOWN
    if len(raw) <= MAX_BODY_BYTES:
        # What is not the bank's own words stays unknown.
        with contextlib.suppress(strict_json.NotStrictJSON):
            outcome = _outcome(http_status, strict_json.loads(raw), payment)
    return Answer(outcome, _text(raw), http_status)


def _text(raw: bytes) -> str:
    """The answer as evidence: short, and such that every database can store it."""
    return raw[:MAX_REASON].decode("utf-8", "replace").replace("\x00", "�")


def _outcome(http_status: int, body: Any, payment: Payment) -> Outcome:
    if type(body) is not dict or type(body.get("status")) is not int:
        return Outcome.UNKNOWN
    verdict = {key: body.pop(key, None) for key in ("data", "status")}
    ours = {
        "reference": str(payment.reference),
        "wallet_uuid": str(payment.wallet_uuid),
        "amount": payment.amount,
    }
    for key, value in body.items():
        # An answer about something else, or with words we do not know, is none.
        if key not in ours or type(value) is not type(ours[key]) or value != ours[key]:
            return Outcome.UNKNOWN
    if http_status == 200 and verdict == _SUCCESS:
        return Outcome.ACCEPTED
    if http_status in (200, 503) and verdict == _FAILED:
        return Outcome.REJECTED
    if http_status == 404 and verdict == _UNKNOWN_REFERENCE:
        return Outcome.NOT_FOUND
    return Outcome.UNKNOWN


def get_bank() -> HttpBank:
    """The configured bank, one for each process, with its connections kept alive."""
    return _bank_of(os.getpid())


@functools.cache
def _bank_of(_pid: int) -> HttpBank:
    # A forked process that used its parent's connections would get its answers, too.
    return HttpBank(
        settings.THIRD_PARTY_BASE_URL,
        abilities=Abilities(
            dedupes=settings.THIRD_PARTY_DEDUPES,
            dedupe_window=settings.THIRD_PARTY_DEDUPE_WINDOW,
            looks_up=settings.THIRD_PARTY_LOOKUP,
            booking_time=settings.THIRD_PARTY_BOOKING_TIME,
            lookup_window=settings.THIRD_PARTY_LOOKUP_WINDOW,
        ),
        deadline=settings.THIRD_PARTY_DEADLINE,
        connect_timeout=settings.THIRD_PARTY_CONNECT_TIMEOUT,
        connections=settings.WITHDRAWAL_CONCURRENCY,
    )
