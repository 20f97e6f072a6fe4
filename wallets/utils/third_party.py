"""The HTTP client of the bank. All HTTP to the bank is here, and no database access.

Answers are untrusted: only documented bodies prove anything. A failure before the
connection is open proves that nothing was sent; any other failure leaves the outcome
unknown. No redirects, no proxies of the environment, no automatic retries.
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
# The wait for a look-up, in deadlines: its own call and those before it.
LOOK_UP_PATIENCE = 10

Headers = tuple[tuple[str, str], ...]
_REFERENCE = REFERENCE.decode("ascii")
_PAYMENT_HEADERS = (
    ("Idempotency-Key", _REFERENCE),
    ("Content-Type", "application/json"),
)
_STATEMENT_HEADERS = (("Accept-Encoding", "identity"), ("Connection", "close"))


class HttpBank:
    """The specification's bank at `base_url`. Thread-safe. Call outside a transaction.

    `deadline`: the seconds of a whole call, from connecting to the last byte;
    `connections`: the most calls at a time.
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
        # The address for messages, without credentials.
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
        # There are few: one for each number of digits of an amount.
        self._head = functools.lru_cache(64)(self._new_head)
        self._abilities = abilities
        self._deadline = deadline
        # Whether every answer so far had our reference. One thread reads and writes it.
        self._echoes = True

    @property
    def abilities(self) -> Abilities:
        return self._abilities

    def pay(self, payment: Payment, *, send_before: float) -> Answer:
        """Ask the bank to pay; see `Bank.pay`."""
        call = self.pay_later(payment, send_before=send_before)
        # Nothing is sent after `send_before`, and every call ends.
        queueing = max(0.0, send_before - clock.elapsed())
        return self._wait(call, queueing + 2 * self._deadline)

    def pay_later(self, payment: Payment, *, send_before: float) -> Future[Answer]:
        """Start a payment; return the future of its answer."""
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
        """Ask for the outcome of a payment; see `Bank.look_up`."""
        head = self._head("GET", f"/payments/{_REFERENCE}")
        exchange = Exchange(head, reference=str(payment.reference))
        call = self._call(Call.LOOK_UP, exchange, payment, float("inf"))
        return self._wait(call, LOOK_UP_PATIENCE * self._deadline)

    def statement(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[StatementLine]:
        """Ask for the payments of a period; see `ListingBank.statement`."""
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
        """Return the answer; unknown if our client never gets one."""
        try:
            return call.result(min(seconds, threading.TIMEOUT_MAX))
        except FutureTimeout:
            return Answer(Outcome.UNKNOWN, "no answer from our own client")

    def _call(
        self, call: Call, exchange: Exchange, payment: Payment, send_before: float
    ) -> Future[Answer]:
        refuse_inside_transaction("the bank was called")
        read = functools.partial(self._read, call, payment)
        return self._caller.submit(exchange, read, send_before=send_before)

    def _read(
        self, call: Call, payment: Payment, result: Result, sent_at: float | None
    ) -> tuple[Answer, bool]:
        """Return what a call's result proves, and whether its connection may be reused.

        Only after an answer with our reference, from a bank whose answers all had it:
        later bytes on that connection name it, too, and cannot be taken for the answer
        to another payment.
        """
        if isinstance(result, NotSent):
            return _not_sent(call, str(result)), False
        if isinstance(result, Exception):
            # All faults of network and peer after bytes may have been sent.
            deadline = isinstance(result, DeadlineOver)
            reason = "deadline" if deadline else f"{type(result).__name__}: {result}"
            return Answer(Outcome.UNKNOWN, reason[:MAX_REASON]), False
        found = evidence.read(call, result, payment)
        if found.outcome is not Outcome.UNKNOWN and not found.echoed:
            self._echoes = False
            if result.reused:
                found = evidence.NOTHING  # it may be the answer to an earlier payment
        answer = Answer(found.outcome, _text(result.body), result.status, sent_at)
        return answer, found.echoed and self._echoes

    def _new_head(
        self, method: str, path: str, headers: Headers = (), length: int = 0
    ) -> h11.Request:
        ours = (("Host", self._host_header), ("Accept", "application/json"))
        return http_exchange.request(
            method, self._path + path, (*ours, *headers), length
        )


def _not_sent(call: Call, reason: str) -> Answer:
    """Return the answer of an unsent call; an unsent look-up proves nothing."""
    if call is Call.LOOK_UP:
        return Answer(Outcome.UNKNOWN, f"not asked: {reason}"[:MAX_REASON])
    return Answer(Outcome.NOT_SENT, reason[:MAX_REASON])


def _text(raw: bytes) -> str:
    """Return the body as evidence: short, and storable in every database."""
    return raw[:MAX_REASON].decode("utf-8", "replace").replace("\x00", "�")


def get_bank() -> HttpBank:
    """Return the configured bank, one for each process, with kept connections."""
    return _bank_of(os.getpid())


@functools.cache
def _bank_of(_pid: int) -> HttpBank:
    # A forked process must not use its parent's connections: it would get its answers.
    return HttpBank(
        settings.THIRD_PARTY_BASE_URL,
        abilities=Abilities(
            dedupes=settings.THIRD_PARTY_DEDUPES,
            dedupe_window=settings.THIRD_PARTY_DEDUPE_WINDOW,
            looks_up=settings.THIRD_PARTY_LOOKUP,
            booking_time=settings.THIRD_PARTY_BOOKING_TIME,
            lookup_window=settings.THIRD_PARTY_LOOKUP_WINDOW,
            address=settings.THIRD_PARTY_BASE_URL,
        ),
        deadline=settings.THIRD_PARTY_DEADLINE,
        connect_timeout=settings.THIRD_PARTY_CONNECT_TIMEOUT,
        connections=settings.WITHDRAWAL_CONCURRENCY,
    )
