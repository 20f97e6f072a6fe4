"""The bank as the rest of the service sees it: its questions, and the answers to them.

No HTTP here: `utils.third_party` speaks it, `tests.fakes` plays it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol
from uuid import UUID

from wallets.utils.bank.payment_list import StatementLine


class Outcome(Enum):
    """What an answer proves."""

    ACCEPTED = "accepted"  # it paid
    REJECTED = "rejected"  # it did not and will not pay under this reference
    NOT_SENT = "not_sent"  # no byte of the request left this machine
    NOT_FOUND = "not_found"  # a look-up: it does not know the reference (now)
    UNKNOWN = "unknown"  # anything else; it may have paid


@dataclass(frozen=True)
class Answer:
    """An outcome with its evidence: the raw text (bounded) and HTTP status, for people.

    `sent_at`: the moment (of `clock.elapsed`) before the first byte left, if known.
    """

    outcome: Outcome
    reason: str = ""
    http_status: int | None = None
    sent_at: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Abilities:
    """What the bank can do, as declared by its operator. Times in seconds.

    `dedupe_window`: how long it pays one reference at most once. `booking_time`: how long
    after it took a request a payment may first show in a look-up. `lookup_window`: how
    long after its last request a payment still shows there; infinite: for ever.
    """

    dedupes: bool = False
    dedupe_window: float = 0
    looks_up: bool = False
    booking_time: float = 0
    lookup_window: float = 86400


@dataclass(frozen=True)
class Payment:
    """What to pay: the reference is ours and the same however often it is sent."""

    reference: UUID
    wallet_uuid: UUID
    amount: int


class Bank(Protocol):
    """Never raises for what the network or the bank does; never called in a transaction."""

    @property
    def abilities(self) -> Abilities: ...

    def pay(self, payment: Payment, *, send_before: float) -> Answer:
        """Ask for a payment, unless `send_before` (of `clock.elapsed`) has passed."""

    def look_up(self, payment: Payment) -> Answer:
        """Ask what became of a payment."""


class ListingBank(Protocol):
    """A bank that also tells what it has paid."""

    def statement(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[StatementLine]:
        """Return what it paid, oldest first; a bank may ignore the period, both included.

        :raises StatementUnavailable: it could not be had; the message says why.
        """
