"""What becomes of a withdrawal that is due: it fails, waits, or is claimed. Pure."""

from __future__ import annotations

from wallets.models.states import Event
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts.outcome import FAILURE_CODES
from wallets.services.payouts.transition import StateChange
from wallets.utils.bank.words import INSUFFICIENT_BALANCE

_FROZEN = "the wallet is frozen, and the withdrawal was scheduled to fail then"


def must_wait(row: Transaction, wallet: Wallet) -> bool:
    """Whether it waits until its wallet is not frozen any more."""
    return wallet.frozen_out and not row.fails_if_frozen


def failure(row: Transaction, wallet: Wallet, available: int) -> StateChange | None:
    """Return the event with which it fails for good; None if it can be claimed.

    `available` is what is left of the wallet's balance (minor units). The bank is not
    called.
    """
    if wallet.frozen_out:
        return _failed(row, Event.FROZEN, _FROZEN)
    if available < row.amount:
        return _failed(row, Event.INSUFFICIENT, INSUFFICIENT_BALANCE)
    return None


def _failed(row: Transaction, event: Event, evidence: str) -> StateChange:
    says = INSUFFICIENT_BALANCE if event is Event.INSUFFICIENT else ""
    return StateChange(
        row,
        event,
        evidence=evidence,
        changes={
            "failure_code": FAILURE_CODES[event],
            "third_party_response": says,
            "next_attempt_at": None,
        },
    )


def claimed(row: Transaction, number: int) -> StateChange:
    """Return the event with which an attempt of this number begins."""
    changes = {
        "retry_count": number - 1,
        "next_attempt_at": None,
        "failure_code": "",
        # The bank's answer to an earlier attempt does not apply to this one.
        "third_party_response": "",
    }
    return StateChange(row, Event.CLAIM, attempt_number=number, changes=changes)
