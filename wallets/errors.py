"""Every refusal of the service: its code, its sentence. HTTP lives in `views.problems.from_exceptions`.

A refusal changes nothing: whoever raises one has written nothing yet, or its
transaction is rolled back whole.
"""

from __future__ import annotations


class Refusal(Exception):
    """A request that is understood and not done. `code` is stable, the text is for people."""

    code = "refused"


class InvalidInput(Refusal, ValueError):
    """A value that can never be right. `field` names it as the client sent it."""

    code = "invalid"

    def __init__(self, detail: str, *, field: str = "", code: str = "") -> None:
        super().__init__(detail)
        self.field = field
        self.code = code or self.code


class InvalidAmount(InvalidInput):
    """The amount is not an integer of minor units between 1 and 10**15."""

    code = "amount_invalid"


class InvalidSchedule(InvalidInput):
    """The time is not an instant in the future, within the horizon."""

    code = "scheduled_for_invalid"


class InvalidIdempotencyKey(InvalidInput):
    """The idempotency key is not a UUID."""

    code = "idempotency_key_invalid"


class IdempotencyKeyReused(Refusal, ValueError):
    """The key already stands for another request.

    Another wallet, operation, amount or time was sent with it before. Send a new key
    for a new request; repeat a request with exactly what it said the first time.
    """

    code = "idempotency_key_reused"


class BalanceLimit(Refusal, ValueError):
    """The deposit would lift the wallet's balance over its cap of 10**15."""

    code = "balance_limit"


class InsufficientBalance(Refusal, ValueError):
    """The wallet holds less than the amount to hold."""

    code = "insufficient_balance"


class IllegalTransition(Refusal):
    """The event is not in the table of `models.states` for the withdrawal's state."""

    code = "illegal_transition"

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"a withdrawal that is {state} does not take {event}")
        self.state = state
        self.event = event


class NotCancelable(IllegalTransition):
    """An attempt of the withdrawal is under way, or it has ended."""

    code = "not_cancelable"


class UnknownIsNotFailed(Refusal, ValueError):
    """Held money goes back only on evidence that the bank did not pay.

    A time-out, a crash or an unreadable answer is no such evidence; the resolver or an
    operator finds it out.
    """

    code = "unknown_is_not_failed"


class StatementUnavailable(Exception):
    """The bank's list of payments could not be had; the message says why."""


class DamagedRows(Exception):
    """Rows contradict each other, or one is missing: no event of ours leads there.

    Nothing is done with them until a person has looked; `verify_ledger` names more.
    """


class LostRace(Exception):
    """Another process moved the row first. The whole transaction is rolled back."""


class InsideTransaction(RuntimeError):
    """The bank was called inside a database transaction.

    Commit the intent first, call, then record the answer in a transaction of its own.
    """
