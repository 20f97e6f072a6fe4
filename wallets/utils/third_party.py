"""The HTTP client of the bank. All HTTP to the bank is here, and nothing of the database.

What comes back is untrusted: only the documented bodies prove anything. A failure before
the connection stood proves that nothing was sent; any other leaves the outcome unknown.
No redirects, no proxies from the environment, no automatic retries.
"""

from __future__ import annotations

import functools
import json
import os
import ssl
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import datetime
from urllib.parse import urlencode, urlsplit

import h11
from django.conf import settings

from wallets.utils import clock, instants
from wallets.utils.bank import evidence, http_exchange, payment_list
from wallets.utils.bank.connections import Connection, NotSent
from wallets.utils.bank.evidence import Call
from wallets.utils.bank.http_calls import Caller, DeadlineOver, Result
from wallets.utils.bank.http_exchange import REFERENCE, Exchange
from wallets.utils.bank.interface import Abilities, Answer, Outcome, Payment
from wallets.utils.bank.payment_list import StatementLine
from wallets.utils.database.transactions import refuse_inside_transaction

MAX_REASON = 500
# In deadlines: for its own call, and for those that may be before it.
LOOK_UP_PATIENCE = 10

Headers = tuple[tuple[str, str], ...]
_REFERENCE = REFERENCE.decode("ascii")
_PAYMENT_HEADERS = (
    ("Idempotency-Key", _REFERENCE),
    ("Content-Type", "application/json"),
)
_STATEMENT_HEADERS = (("Accept-Encoding", "identity"), ("Connection", "close"))


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
        # What people are told, without the credentials that may be in it.
        self._address = f"http{'s' * tls}://{self._host_header}{self._path}"
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
        self._lister: Caller[Result] = Caller(
            connect, deadline=payment_list.DEADLINE_SECONDS, size=1
        )
        # The few there are: a length for each number of digits of an amount.
        self._head = functools.lru_cache(64)(self._new_head)
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
        content = json.dumps(body).encode()
        head = self._head("POST", "/", _PAYMENT_HEADERS, len(content))
        exchange = Exchange(head, content, reference=str(payment.reference))
        return self._call(Call.PAYMENT, exchange, payment, send_before)

    def look_up(self, payment: Payment) -> Answer:
        """Ask the bank what became of a payment; see `Bank.look_up`."""
        head = self._head("GET", f"/payments/{_REFERENCE}")
        exchange = Exchange(head, reference=str(payment.reference))
        call = self._call(Call.LOOK_UP, exchange, payment, float("inf"))
        return self._wait(call, LOOK_UP_PATIENCE * self._deadline)

    def statement(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[StatementLine]:
        """Ask the bank what it has paid, in this period; see `ListingBank.statement`."""
        refuse_inside_transaction("the bank was asked for its statement")
        period = {"from": since, "to": until}
        query = urlencode({k: instants.write(v) for k, v in period.items() if v})
        path = "/payments" + ("?" + query if query else "")
        limit = payment_list.MAX_BYTES
        call = self._lister.submit(
            Exchange(self._head("GET", path, _STATEMENT_HEADERS), limit=limit),
            lambda result, sent_at: (result, False),
            send_before=float("inf"),
        )
        return payment_list.read(
            call.result(), limit=limit, url=f"{self._address}/payments"
        )

    def _wait(self, call: Future[Answer], seconds: float) -> Answer:
        """The answer; unknown when our own client never comes to one."""
        try:
            return call.result(min(seconds, threading.TIMEOUT_MAX))
        except FutureTimeout:
            return Answer(Outcome.UNKNOWN, "no answer from our own client")

    def _call(
        self, call: Call, exchange: Exchange, payment: Payment, send_before: float
    ) -> Future[Answer]:
        refuse_inside_transaction("the bank was called")
        read = functools.partial(_read, call, payment)
        return self._caller.submit(exchange, read, send_before=send_before)

    def _new_head(
        self, method: str, path: str, headers: Headers = (), length: int = 0
    ) -> h11.Request:
        ours = (("Host", self._host_header), ("Accept", "application/json"))
        return http_exchange.request(
            method, self._path + path, (*ours, *headers), length
        )


def _read(
    call: Call, payment: Payment, result: Result, sent_at: float | None
) -> tuple[Answer, bool]:
    """What a call's result proves, and whether its connection may serve another one.

    Only after an answer that named our reference: what else comes on that connection
    names it too, and is never taken for the answer to another payment.
    """
    if isinstance(result, NotSent):
        return _not_sent(call, str(result)), False
    if isinstance(result, Exception):
        # Everything a network and a peer can do wrong, once bytes may have left.
        deadline = isinstance(result, DeadlineOver)
        reason = "deadline" if deadline else f"{type(result).__name__}: {result}"
        return Answer(Outcome.UNKNOWN, reason[:MAX_REASON]), False
    found = evidence.read(call, result, payment)
    text = _text(result.body)
    return Answer(found.outcome, text, result.status, sent_at), found.echoed


def _not_sent(call: Call, reason: str) -> Answer:
    """What it proves that nothing left: of a look-up, nothing about the payment."""
    if call is Call.LOOK_UP:
        return Answer(Outcome.UNKNOWN, f"not asked: {reason}"[:MAX_REASON])
    return Answer(Outcome.NOT_SENT, reason[:MAX_REASON])


def _text(raw: bytes) -> str:
    """The answer as evidence: short, and such that every database can store it."""
    return raw[:MAX_REASON].decode("utf-8", "replace").replace("\x00", "�")


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
