"""The interface of the bank: calls, payments and answers.

No HTTP here: `utils.third_party` implements it, `tests.fakes` imitates it.
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
    REJECTED = "rejected"  # it did not and will not pay this reference
    NOT_SENT = "not_sent"  # no byte of the request was sent
    NOT_FOUND = "not_found"  # look-up: it does not know the reference now
    UNKNOWN = "unknown"  # any other answer; it may have paid


@dataclass(frozen=True)
class Answer:
    """An outcome with its evidence for people: bounded raw text and HTTP status.

    `sent_at`: the time (`clock.elapsed`) just before the first byte was sent, if known.
    """

    outcome: Outcome
    reason: str = ""
    http_status: int | None = None
    sent_at: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Abilities:
    """The bank's abilities, as its operator declares them. Times in seconds.

    - `dedupe_window`: how long it pays one reference at most once.
    - `booking_time`: the longest time from a request until a look-up shows the payment.
    - `lookup_window`: how long after its last request a look-up shows a payment;
      infinite: for ever.
    - `address`: which bank it is; another one knows nothing of this one's payments.
    """

    dedupes: bool = False
    dedupe_window: float = 0
    looks_up: bool = False
    booking_time: float = 0
    lookup_window: float = 86400
    address: str = ""


@dataclass(frozen=True)
class Payment:
    """A payment: reference, wallet, amount (minor units); the same for each send."""

    reference: UUID
    wallet_uuid: UUID
    amount: int


class Bank(Protocol):
    """A bank. Call outside a transaction. Faults of network and bank raise nothing."""

    @property
    def abilities(self) -> Abilities: ...

    def pay(self, payment: Payment, *, send_before: float) -> Answer:
        """Ask for a payment, unless `send_before` (`clock.elapsed`) has passed."""

    def look_up(self, payment: Payment) -> Answer:
        """Ask for the outcome of a payment."""


class ListingBank(Protocol):
    """A bank with a list of its payments."""

    def statement(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[StatementLine]:
        """Return the payments of a period (both ends included), oldest first.

        A bank may ignore the period.

        :raises StatementUnavailable: the list could not be fetched; the message says
            why.
        """
