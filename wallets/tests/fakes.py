"""A bank for tests: a complete implementation of `Bank`, without HTTP.

`paid` has the real payments, whatever the answers were. Tests compare the ledger with
it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from wallets.errors import StatementUnavailable
from wallets.utils import clock
from wallets.utils.bank.interface import Abilities, Answer, Outcome, Payment
from wallets.utils.bank.payment_list import StatementLine
from wallets.utils.database.transactions import refuse_inside_transaction

# From a bank with all abilities to the specification's bank, which has none.
ABLE = Abilities(dedupes=True, dedupe_window=86400, looks_up=True, booking_time=1)
DEDUPES_ONLY = Abilities(dedupes=True, dedupe_window=86400)
LOOKS_UP_ONLY = Abilities(looks_up=True, booking_time=1)
BARE = Abilities()


class Does(Enum):
    """The bank's reaction to one request."""

    PAY = auto()  # pays and answers
    REFUSE = auto()  # does not pay and answers
    UNREACHABLE = auto()  # nothing was sent
    PAY_SILENTLY = auto()  # pays, the answer is lost
    LOSE = auto()  # the request is lost: no payment, no answer
    BOOK_LATE = auto()  # accepts without an answer, pays at `book()`


_PAID = Answer(Outcome.ACCEPTED, '{"data": "success", "status": 200}', 200)
_REFUSED = Answer(Outcome.REJECTED, '{"data": "failed", "status": 503}', 200)
_LOST = Answer(Outcome.UNKNOWN, "ReadTimeoutError")
_NOTHING = Answer(Outcome.NOT_FOUND, '{"data": "unknown"}', 404)
_CONFLICT = Answer(Outcome.UNKNOWN, '{"data": "conflict", "status": 409}', 409)
_UNREACHABLE = Answer(Outcome.NOT_SENT, "ConnectionRefusedError")


class InThisThread:
    """A pool that runs calls in the test's thread, inside the test's transaction."""

    def __init__(self, size: int) -> None: ...

    def __enter__(self) -> InThisThread:
        return self

    def __exit__(self, *exc: object) -> None: ...

    map = staticmethod(lambda call, items: [call(item) for item in items])


class FakeBank:
    """Follows its script, one entry for each request; then it pays. Thread-safe."""

    def __init__(self, abilities: Abilities = ABLE, script: tuple[Does, ...] = ()):
        self._abilities = abilities
        self.script = deque(script)
        self.paid: list[Payment] = []
        self.requests: list[Payment] = []
        # Called before a request is processed, for events during its transport.
        self.on_the_way: Callable[[Payment], None] = lambda payment: None
        # The answers to the next look-ups; later look-ups get the real answers.
        self.look_up_script: deque[Answer] = deque()
        # The requested periods of its list; and why the list is not available, if so.
        self.asked_for: list[tuple[datetime | None, datetime | None]] = []
        self.statement_trouble = ""
        self._remembered: dict[UUID, tuple[Payment, Answer]] = {}
        self._booking: list[Payment] = []
        self._lock = threading.Lock()

    @property
    def abilities(self) -> Abilities:
        return self._abilities

    def pay(self, payment: Payment, *, send_before: float = float("inf")) -> Answer:
        refuse_inside_transaction("the bank was called")
        if clock.elapsed() >= send_before:
            return Answer(Outcome.NOT_SENT, "the sender came too late for its lease")
        self.on_the_way(payment)
        with self._lock:
            return self._deal_with(payment)

    def look_up(self, payment: Payment) -> Answer:
        refuse_inside_transaction("the bank was called")
        with self._lock:
            if not self._abilities.looks_up:
                return Answer(Outcome.UNKNOWN, "<h1>Not Found</h1>", 404)
            if self.look_up_script:
                return self.look_up_script.popleft()
            return self._recalled(payment) or _NOTHING

    def statement(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[StatementLine]:
        """Return all payments: it ignores the period and has no times."""
        refuse_inside_transaction("the bank was asked for its statement")
        self.asked_for.append((since, until))
        if self.statement_trouble:
            raise StatementUnavailable(self.statement_trouble)
        with self._lock:
            return [
                StatementLine(one.reference, one.wallet_uuid, one.amount)
                for one in self.paid
            ]

    def book(self) -> None:
        """Make the late payments now."""
        with self._lock:
            for payment in self._booking:
                self._pay_late(payment)
            self._booking.clear()

    def paid_references(self) -> list[UUID]:
        return [payment.reference for payment in self.paid]

    def _deal_with(self, payment: Payment) -> Answer:
        does = self.script.popleft() if self.script else Does.PAY
        if does is Does.UNREACHABLE:
            return _UNREACHABLE
        self.requests.append(payment)
        recalled = self._recalled(payment)
        if self._abilities.dedupes and recalled:
            return recalled
        if does is Does.REFUSE:
            self._remembered[payment.reference] = payment, _REFUSED
            return _REFUSED
        if does is Does.BOOK_LATE:
            self._booking.append(payment)
            return _LOST
        if does is Does.LOSE:
            return _LOST
        self._pay(payment)
        return _PAID if does is Does.PAY else _LOST

    def _recalled(self, payment: Payment) -> Answer | None:
        """Return the answer to this reference; a conflict if its payment differs."""
        recalled = self._remembered.get(payment.reference)
        if recalled is None:
            return None
        return recalled[1] if recalled[0] == payment else _CONFLICT

    def _pay_late(self, payment: Payment) -> None:
        """Pay an accepted request, unless a repeated one has been paid since."""
        if not (
            self._abilities.dedupes and payment.reference in self.paid_references()
        ):
            self._pay(payment)

    def _pay(self, payment: Payment) -> None:
        self.paid.append(payment)
        self._remembered[payment.reference] = payment, _PAID
