"""Review: withdrawals that only an operator can conclude."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet

from wallets.errors import IllegalTransition, InvalidInput
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.review_proposal import ReviewProposal
from wallets.models.states import Event, State
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.operations import review_proposal
from wallets.services.operations.alarm import raise_alarm, said_paid
from wallets.services.payouts import outcome
from wallets.services.payouts.outcome import Conclusion
from wallets.services.requests.checks import check_actor
from wallets.utils.database.transactions import database_now, run_in_transaction

MAX_EVIDENCE = 2000


def waiting() -> QuerySet[Transaction]:
    """Return the withdrawals in review, the longest waiting first."""
    return (
        # The review implies the rest, by which the index finds it.
        Transaction.objects.filter(Transaction.is_under_way(), needs_review=True)
        .select_related("wallet")
        .order_by("unknown_since", "pk")
    )


def resolve(
    transaction_id: int,
    *,
    paid: bool,
    evidence: str,
    actor: str,
    user_id: int | None = None,
) -> Transaction:
    """Conclude a withdrawal in review: the operator knows whether the bank paid.

    Opens its own transaction. "Paid" settles the hold; "not paid" releases it for good.
    "Paid" for a withdrawal whose money was released changes nothing and raises an
    alarm. With REVIEW_TWO_PERSONS the first "not paid" is only a proposal, and the
    returned withdrawal is still in review; another person's "not paid" concludes it.
    `user_id` is the login's id, if there is one.

    :raises InvalidInput: evidence or actor is empty or too long; the same person says
        "not paid" twice; or it is said although the bank's list has the payment.
    :raises IllegalTransition: the withdrawal is not in review.
    :raises Transaction.DoesNotExist: no such withdrawal, or it was never sent.
    """
    check_words(evidence, actor)
    said = _Verdict(paid, evidence.strip(), actor, user_id)
    refused: list[IllegalTransition] = []

    def work() -> Transaction:
        refused.clear()
        attempt = _last_attempt(transaction_id)
        locked = outcome.lock([attempt])
        withdrawal = locked.transactions[transaction_id]
        if said.is_written(transaction_id):
            return withdrawal  # by an earlier run, whose reply was lost
        if withdrawal.state is not State.NEEDS_REVIEW:
            # The alarm must be committed, so the refusal is raised outside.
            _alarm_if_released(withdrawal, attempt.number, said)
            refused.append(IllegalTransition(withdrawal.state.value, said.event.value))
            return withdrawal
        attempt = locked.attempts[(transaction_id, attempt.number)]
        _conclude(withdrawal, attempt, locked.wallets, said)
        return withdrawal

    withdrawal = run_in_transaction(work)
    if refused:
        raise refused[0]
    return withdrawal


def _last_attempt(transaction_id: int) -> Attempt:
    attempts = Attempt.objects.select_related("transaction")
    found = attempts.filter(transaction_id=transaction_id).last()
    if found is None:
        raise Transaction.DoesNotExist(f"nothing was sent for {transaction_id}")
    return found


@dataclass(frozen=True)
class _Verdict:
    """What an operator found out, and the operator's name."""

    paid: bool
    evidence: str
    actor: str
    user_id: int | None
    # When each run of this call has written, or was about to.
    _runs: list[datetime] = field(default_factory=list)

    def begin(self) -> datetime:
        """Return the time with which this run marks its rows."""
        self._runs.append(database_now())
        return self._runs[-1]

    def is_written(self, transaction_id: int) -> bool:
        """Whether an earlier run of this call has concluded it, or proposed to.

        If the reply to a COMMIT is lost, the work is run again. The first run asks
        nothing. Another call with the same words has another time.
        """
        if not self._runs:
            return False
        of_runs = {"transaction": transaction_id, "created_at__in": self._runs}
        return (
            Transition.objects.filter(
                event=self.event.value, actor=self.actor, **of_runs
            ).exists()
            or ReviewProposal.objects.filter(proposed_by=self.actor, **of_runs).exists()
        )

    @property
    def event(self) -> Event:
        return Event.RESOLVE_PAID if self.paid else Event.RESOLVE_NOT_PAID


def _conclude(
    withdrawal: Transaction,
    attempt: Attempt,
    wallets: dict[int, Wallet],
    said: _Verdict,
) -> None:
    """Settle or release, unless another person must confirm it first."""
    if not said.paid:
        _check_not_listed(withdrawal, attempt)
    now, evidence = said.begin(), said.evidence
    if not said.paid and settings.REVIEW_TWO_PERSONS:
        both = review_proposal.confirmed(
            attempt, evidence, actor=said.actor, user_id=said.user_id, now=now
        )
        if both is None:
            return
        evidence = both
    outcome.conclude(
        [Conclusion(withdrawal, attempt, said.event, evidence)],
        wallets,
        actor=said.actor,
        now=now,
    )


def _check_not_listed(withdrawal: Transaction, attempt: Attempt) -> None:
    """Refuse "not paid" for a withdrawal that the bank's list has.

    As its open attempt, or as a later one that a restored backup does not have.
    """
    listed = said_paid([withdrawal.pk]).filter(attempt_number__gte=attempt.number)
    for found in listed[:1]:
        raise InvalidInput(
            f"The bank's list has this payment: {found.detail}. Say that it is paid; or, "
            f"if the list is wrong, acknowledge alarm {found.pk} first.",
            field="paid",
        )


def check_words(evidence: str, actor: str) -> None:
    """Refuse an action without evidence or actor. Pure.

    :raises InvalidInput: evidence or actor is empty or too long.
    """
    if not evidence.strip() or len(evidence) > MAX_EVIDENCE:
        raise InvalidInput(
            f"Say on what evidence, in 1 to {MAX_EVIDENCE} characters.",
            field="evidence",
        )
    check_actor(actor)


def _alarm_if_released(withdrawal: Transaction, number: int, said: _Verdict) -> None:
    released = withdrawal.status in (
        Transaction.Status.FAILED,
        Transaction.Status.CANCELLED,
    )
    if said.paid and released:
        raise_alarm(
            Alarm.Kind.PAID_AFTER_RELEASE,
            withdrawal,
            attempt_number=number,
            detail=f"{said.actor}: {said.evidence}",
        )
