"""One withdrawal with its history; one wallet with its statement. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.payment_return import PaymentReturn
from wallets.models.review_proposal import ReviewProposal
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.operations import payment_return, review_proposal
from wallets.services.reads import actors, relations

# Usually there are a few of each; look-ups may go on for years, so there is a limit.
LIMIT = 200
STATEMENT_PAGE = 50
PLOT_POINTS = 500


@dataclass(frozen=True)
class Life:
    """A withdrawal with all its rows."""

    withdrawal: Transaction
    attempts: list[Attempt]
    transitions: list[Transition]
    movements: list[Movement]
    alarms: list[Alarm]
    proposal: ReviewProposal | None
    returned: PaymentReturn | None

    @property
    def fingerprint(self) -> str:
        """A text that changes when anything on the page changes."""
        whole = _fingerprint(self.withdrawal, self.attempts, self.alarms)
        return f"{whole}.{int(self.proposal is not None)}"

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it automatically."""
        status = Transaction.Status
        ended = self.withdrawal.status in (status.COMPLETED, status.CANCELLED)
        return ended or self.withdrawal.final


def life(transaction_id: int) -> Life | None:
    """Return a withdrawal with all its rows; None for an unknown id or a deposit."""
    withdrawal = (
        Transaction.objects.select_related("wallet")
        .filter(
            pk=transaction_id, transaction_type=Transaction.TransactionType.WITHDRAWAL
        )
        .first()
    )
    if withdrawal is None:
        return None
    return Life(
        withdrawal,
        list(withdrawal.attempts.order_by("-number")[:LIMIT]),
        list(withdrawal.transitions.order_by("-sequence")[:LIMIT]),
        list(withdrawal.movements.order_by("-pk")[:LIMIT]),
        list(withdrawal.alarms.order_by("-pk")[:LIMIT]),
        review_proposal.of(withdrawal.pk),
        payment_return.of_withdrawal(withdrawal.pk),
    )


def _fingerprint(
    withdrawal: Transaction, attempts: list[Attempt], alarms: list[Alarm]
) -> str:
    checks = sum(attempt.checks for attempt in attempts)
    open_alarms = sum(1 for alarm in alarms if alarm.acknowledged_at is None)
    return f"{withdrawal.version}.{checks}.{len(alarms)}.{open_alarms}"


@dataclass(frozen=True)
class Statement:
    """A wallet's latest movements, newest first, and its balance over time."""

    wallet: Wallet
    movements: list[Movement]
    points: list[tuple[datetime, int]]
    next: int | None


def wallet(wallet_uuid: UUID) -> Wallet | None:
    """Return the wallet; None for an unknown one."""
    return Wallet.objects.filter(uuid=wallet_uuid).first()


def changes(wallet: Wallet) -> list[WalletChange]:
    """Return the latest changes of a wallet's name and life, the newest first."""
    return list(wallet.changes.order_by("-sequence")[:STATEMENT_PAGE])


def statement(wallet_uuid: str, before: int | None = None) -> Statement | None:
    """Return a wallet with a page of its statement; None for an unknown wallet.

    The page has only movements with numbers below `before`.
    """
    wallet = Wallet.objects.filter(uuid=wallet_uuid).first()
    if wallet is None:
        return None
    rows = wallet.movements.order_by("-sequence")
    points = list(rows.values_list("created_at", "balance_after")[:PLOT_POINTS])
    if before is not None:
        rows = rows.filter(sequence__lt=before)
    page = list(rows.select_related("transaction")[: STATEMENT_PAGE + 1])
    more = len(page) > STATEMENT_PAGE
    page = actors.of_movements(relations.of_movements(page[:STATEMENT_PAGE]))
    return Statement(wallet, page, points[::-1], page[-1].sequence if more else None)
