"""The states of a withdrawal and every event that may happen to it: one table.

An event that is not in `TRANSITIONS` is refused. A test compares the diagram in
ARCHITECTURE.md with it. No database access here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol


class State(Enum):
    """The internal state of a withdrawal, finer than the public status."""

    PENDING = "pending"  # waits for its time; no money is held
    SENDING = "sending"  # money held; a sender with a lease calls the bank
    UNKNOWN = "unknown"  # money held; the outcome is unknown
    NEEDS_REVIEW = "needs_review"  # money held; an operator must conclude
    COMPLETED = "completed"  # the bank paid, the hold is settled
    FAILED_RETRYABLE = "failed_retryable"  # not paid, released, waits for a retry
    FAILED_FINAL = "failed_final"  # not paid, released, no retry
    CANCELLED = "cancelled"  # cancelled while no attempt was open

    @property
    def status(self) -> str:
        """The public status of the specification."""
        return _STATUS[self]


_STATUS = {
    State.PENDING: "PENDING",
    State.SENDING: "PROCESSING",
    State.UNKNOWN: "PROCESSING",
    State.NEEDS_REVIEW: "PROCESSING",
    State.COMPLETED: "COMPLETED",
    State.FAILED_RETRYABLE: "FAILED",
    State.FAILED_FINAL: "FAILED",
    State.CANCELLED: "CANCELLED",
}

# The states that share their status with no other.
_BY_STATUS = {
    one.status: one for one in (State.PENDING, State.COMPLETED, State.CANCELLED)
}


class Event(Enum):
    """What can happen to a withdrawal."""

    CANCEL = "cancel"  # by the client or an operator
    RESCHEDULE = "reschedule"  # by the client or an operator: another time
    CLAIM = "claim"  # due, balance sufficient; attempt and lease committed
    INSUFFICIENT = "insufficient"  # due, balance too small; the bank is not called
    FROZEN = "frozen"  # due, its wallet is frozen and it does not wait; no call either
    ACCEPTED = "accepted"  # the bank says it paid
    REJECTED = "rejected"  # the bank says it did not and will not pay
    NOT_SENT = "not_sent"  # no byte of the request was sent
    UNKNOWN = "unknown"  # any other answer, or the lease ended without one
    RESEND = "resend"  # same reference again, to a bank with dedupe
    FOUND_PAID = "found_paid"  # look-up: paid
    FOUND_REJECTED = "found_rejected"  # look-up: refused
    FOUND_NOTHING = "found_nothing"  # look-up: not found, twice, after the quiet period
    ASK_REVIEW = "ask_review"  # only an operator can find out
    RETRY_NOW = "retry_now"  # operator: do not wait for the next attempt
    RESOLVE_PAID = "resolve_paid"  # operator, with evidence
    RESOLVE_NOT_PAID = "resolve_not_paid"  # operator, with evidence
    RECORD_PAID = "record_paid"  # operator: paid, not in the ledger; with evidence


@dataclass(frozen=True)
class Rule:
    """The state after an event, and the movements of money that belong to it."""

    to: State
    money: str | None = None  # "hold", "settle", "release", or two: "hold+settle"

    @property
    def movements(self) -> list[str]:
        """The kinds of movements, in order."""
        return self.money.split("+") if self.money else []


_HOLD, _SETTLE, _RELEASE = "hold", "settle", "release"
_RECORDED = Rule(State.COMPLETED, f"{_HOLD}+{_SETTLE}")
_RETRYABLE = Rule(State.FAILED_RETRYABLE, _RELEASE)
_PAID = Rule(State.COMPLETED, _SETTLE)

# FAILED_RETRYABLE becomes FAILED_FINAL if no retry is left (`last_retry` below).
TRANSITIONS: dict[tuple[State, Event], Rule] = {
    (State.PENDING, Event.CANCEL): Rule(State.CANCELLED),
    (State.PENDING, Event.RESCHEDULE): Rule(State.PENDING),
    (State.PENDING, Event.CLAIM): Rule(State.SENDING, _HOLD),
    (State.PENDING, Event.INSUFFICIENT): Rule(State.FAILED_FINAL),
    (State.PENDING, Event.FROZEN): Rule(State.FAILED_FINAL),
    (State.PENDING, Event.RECORD_PAID): _RECORDED,
    (State.SENDING, Event.ACCEPTED): _PAID,
    (State.SENDING, Event.REJECTED): _RETRYABLE,
    (State.SENDING, Event.NOT_SENT): _RETRYABLE,
    (State.SENDING, Event.UNKNOWN): Rule(State.UNKNOWN),
    (State.UNKNOWN, Event.ACCEPTED): _PAID,
    (State.UNKNOWN, Event.REJECTED): _RETRYABLE,
    (State.UNKNOWN, Event.NOT_SENT): _RETRYABLE,
    (State.UNKNOWN, Event.FOUND_PAID): _PAID,
    (State.UNKNOWN, Event.FOUND_REJECTED): _RETRYABLE,
    (State.UNKNOWN, Event.FOUND_NOTHING): _RETRYABLE,
    (State.UNKNOWN, Event.RESEND): Rule(State.SENDING),
    (State.UNKNOWN, Event.ASK_REVIEW): Rule(State.NEEDS_REVIEW),
    (State.NEEDS_REVIEW, Event.ACCEPTED): _PAID,
    (State.NEEDS_REVIEW, Event.FOUND_PAID): _PAID,
    (State.NEEDS_REVIEW, Event.RESOLVE_PAID): _PAID,
    (State.NEEDS_REVIEW, Event.RESOLVE_NOT_PAID): Rule(State.FAILED_FINAL, _RELEASE),
    (State.FAILED_RETRYABLE, Event.CANCEL): Rule(State.CANCELLED),
    (State.FAILED_RETRYABLE, Event.CLAIM): Rule(State.SENDING, _HOLD),
    (State.FAILED_RETRYABLE, Event.INSUFFICIENT): Rule(State.FAILED_FINAL),
    (State.FAILED_RETRYABLE, Event.FROZEN): Rule(State.FAILED_FINAL),
    (State.FAILED_RETRYABLE, Event.RETRY_NOW): Rule(State.FAILED_RETRYABLE),
    (State.FAILED_RETRYABLE, Event.RECORD_PAID): _RECORDED,
}


def rule_for(
    state: State | None, event: Event, *, last_retry: bool = False
) -> Rule | None:
    """Return the rule of an event in a state, or None if the table has none.

    `last_retry`: no retry is left, so a failure is final.
    """
    rule = TRANSITIONS.get((state, event)) if state else None
    if rule is not None and rule.to is State.FAILED_RETRYABLE and last_retry:
        return Rule(State.FAILED_FINAL, rule.money)
    return rule


class HasState(Protocol):
    """The columns of a transaction that say its state."""

    @property
    def transaction_type(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def final(self) -> bool: ...
    @property
    def needs_review(self) -> bool: ...
    @property
    def unknown_since(self) -> datetime | None: ...


def state_of(row: HasState) -> State | None:
    """Return the internal state; None for a damaged row, whose status is unknown."""
    if row.status == "PROCESSING":
        if row.needs_review:
            return State.NEEDS_REVIEW
        return State.UNKNOWN if row.unknown_since else State.SENDING
    if row.status == "FAILED":
        return State.FAILED_FINAL if row.final else State.FAILED_RETRYABLE
    return _BY_STATUS.get(row.status)


def is_cancelable(row: HasState) -> bool:
    """Whether it can be cancelled: a withdrawal without an open attempt."""
    return (
        row.transaction_type == "WITHDRAWAL"
        and rule_for(state_of(row), Event.CANCEL) is not None
    )
