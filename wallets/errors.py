"""The refusals of the service, with their codes. `views.problems.from_exceptions` maps them to HTTP.

A refusal changes nothing: it is raised before anything is written, or its transaction
is rolled back.
"""

from __future__ import annotations


class Refusal(Exception):
    """A request that is refused. `code` is stable; the text is for people."""

    code = "refused"


class InvalidInput(Refusal, ValueError):
    """A value that is never valid. `field` is its name in the request."""

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
    """The key stands for another request.

    It was sent before with another wallet, operation, amount, time or words. Use a new
    key for a new request, and repeat a request unchanged.
    """

    code = "idempotency_key_reused"


class BalanceLimit(Refusal, ValueError):
    """The money would lift balance and held money over the cap of 10**15."""

    code = "balance_limit"


class InsufficientBalance(Refusal, ValueError):
    """The wallet's balance is smaller than the amount."""

    code = "insufficient_balance"


class CurrencyMismatch(Refusal):
    """Money moves between wallets of the same currency only."""

    code = "currency_mismatch"


class CurrencyNotPayable(Refusal):
    """The bank pays one currency (THIRD_PARTY_CURRENCY), and the wallet has another."""

    code = "currency_not_payable"


class NotCorrectable(Refusal):
    """Only deposits, transfers and returns can be corrected.

    A bank has paid a withdrawal, and a correction is corrected by a new deposit or
    transfer.
    """

    code = "not_correctable"

    def __init__(self, transaction_type: str) -> None:
        super().__init__(f"a {transaction_type} cannot be corrected")


class CorrectionTooLarge(Refusal, ValueError):
    """More than what is left to correct of the deposit, transfer or return."""

    code = "correction_too_large"


class NotReturnable(Refusal):
    """Only a withdrawal that the bank has paid can be returned: it is COMPLETED."""

    code = "not_returnable"


class AlreadyReturned(Refusal):
    """A withdrawal is returned once, and another return of it is recorded."""

    code = "already_returned"


class ReturnTooLarge(Refusal, ValueError):
    """More than the bank has paid for the withdrawal."""

    code = "return_too_large"


class WalletFrozen(Refusal):
    """The wallet is frozen in the direction in which the money would move."""

    code = "wallet_frozen"


class WalletClosed(Refusal):
    """The wallet is closed for good: nothing about it can change any more."""

    code = "wallet_closed"


class WalletNotEmpty(Refusal):
    """The wallet cannot be closed: it has money, or withdrawals that have not ended."""

    code = "wallet_not_empty"


class ReferenceTaken(Refusal):
    """Another wallet has this reference."""

    code = "reference_taken"


class IllegalTransition(Refusal):
    """The event is not in the table of `models.states` for the withdrawal's state."""

    code = "illegal_transition"

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"a withdrawal that is {state} does not take {event}")
        self.state = state
        self.event = event


class NotCancelable(IllegalTransition):
    """An attempt of the withdrawal is open, or the withdrawal has ended."""

    code = "not_cancelable"


class NotReschedulable(IllegalTransition):
    """An attempt of the withdrawal was made, or the withdrawal has ended."""

    code = "not_reschedulable"


class UnknownIsNotFailed(Refusal, ValueError):
    """Held money is released only on evidence that the bank did not pay.

    A time-out, a crash or an unreadable answer is no such evidence.
    """

    code = "unknown_is_not_failed"


class StatementUnavailable(Exception):
    """The bank's list of payments could not be fetched; the message says why."""


class DamagedRows(Exception):
    """Rows contradict each other, or a row is missing.

    The service does not change them until a person has looked; `verify_ledger` names
    more.
    """


class LostRace(Exception):
    """Another process changed the row first. The whole transaction is rolled back."""


class InsideTransaction(RuntimeError):
    """The bank was called inside a database transaction.

    Commit the attempt first, then call, then record the answer in a new transaction.
    """
