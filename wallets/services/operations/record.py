"""Records payments of the bank that the ledger does not have, after a restored backup.

Nothing is sent. An operator enters a payment with evidence. Hold and settle are posted
together, so that the ledger is as if it had never lost the payment.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from wallets.errors import (
    IdempotencyKeyReused,
    IllegalTransition,
    InsufficientBalance,
    InvalidInput,
)
from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.states import Event, rule_for
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.operations import alarm, paid_attempt
from wallets.services.operations.review import check_words
from wallets.services.payouts import attempt, transition
from wallets.services.payouts.transition import StateChange
from wallets.services.requests import idempotency
from wallets.services.requests.checks import checked_amount, checked_uuid
from wallets.services.wallets import history
from wallets.services.withdrawals.reference import find_waiting
from wallets.utils.database.transactions import (
    database_now,
    lock_rows,
    run_in_transaction,
)

_WITHDRAWAL = Transaction.TransactionType.WITHDRAWAL


@dataclass(frozen=True)
class Proof:
    """What an operator knows about a payment. `token` marks the rows of this call."""

    evidence: str
    actor: str
    reference: uuid.UUID | None
    paid_at: datetime | None
    token: uuid.UUID = field(default_factory=uuid.uuid4)


def record_paid(
    transaction_id: int,
    *,
    evidence: str,
    actor: str,
    reference: uuid.UUID | None = None,
    paid_at: datetime | None = None,
) -> Transaction:
    """Complete a withdrawal that the bank has paid and the ledger has not begun.

    Opens its own transaction; locks the withdrawal, then its wallet, as a claim does.
    `reference` is the one under which the bank has the payment, also that of an attempt
    which ended as not paid; default: that of the attempt which an alarm says is paid,
    or of the next one. `paid_at` is when the bank paid; default: when that ended attempt
    was sent, or the database's time.

    :raises InvalidInput: no evidence or actor; a time in the future; a reference of
        another payment, or one that this withdrawal cannot have; no reference, and
        alarms say that several attempts are paid.
    :raises IllegalTransition: the withdrawal is neither pending nor waits for a retry.
    :raises InsufficientBalance: the balance is too small; the text says what to do.
    :raises WalletClosed: the wallet is closed.
    :raises Transaction.DoesNotExist: no such withdrawal.
    """
    proof = _proof(evidence, actor, reference, paid_at)

    def work() -> Transaction:
        rows = Transaction.objects.filter(transaction_type=_WITHDRAWAL)
        locked = lock_rows(rows.filter(pk=transaction_id))
        if not locked:
            raise Transaction.DoesNotExist(f"no withdrawal {transaction_id}")
        return _complete(locked[0], proof, database_now())

    return _run(work, proof)


def record_payment(
    wallet_uuid: uuid.UUID | str,
    amount: int,
    *,
    evidence: str,
    actor: str,
    key: uuid.UUID | str | None = None,
    reference: uuid.UUID | None = None,
    scheduled_for: datetime | None = None,
    paid_at: datetime | None = None,
) -> Transaction:
    """Create a withdrawal that the ledger does not have, and complete it.

    Opens its own transaction. The amount is in minor units. `key` is the client's
    idempotency key: a client that repeats its request gets this withdrawal as a replay.
    Without the key the reference does the same, because it is derived from the key. If
    the scheduled time is unknown, a repeated request may have any time.

    :raises InvalidAmount: not an integer from 1 to 10**15.
    :raises IdempotencyKeyReused: the ledger has a transaction with this key.
    :raises InvalidInput: as `record_paid`; or neither key nor reference is given, or
        the key does not lead to the reference.
    :raises InsufficientBalance: the balance is too small; the text says what to do.
    :raises WalletClosed: the wallet is closed.
    :raises Wallet.DoesNotExist: no such wallet.
    """
    proof = _proof(evidence, actor, reference, paid_at)
    amount = checked_amount(amount)
    target = checked_uuid(wallet_uuid)
    if key is None and reference is None:
        raise InvalidInput(
            "Give the reference on the bank's list, or the client's key: without one of "
            "them a client that asks again is paid again.",
            field="reference",
        )
    parsed = idempotency.parse_key(key)
    _check_instant(scheduled_for, "scheduled_for")

    def work() -> Transaction:
        now = database_now()
        made = _enter(target, amount, parsed, scheduled_for, proof, now)
        return _complete(made, proof, now, any_reference=key is None)

    return _run(work, proof)


def _enter(
    wallet_uuid: uuid.UUID,
    amount: int,
    key: uuid.UUID,
    scheduled_for: datetime | None,
    proof: Proof,
    now: datetime,
) -> Transaction:
    """Create the withdrawal; lock its wallet first: a client may ask for it now."""
    wallet = history.lock(wallet_uuid)
    # The client's request may have come from a caller of the wallet's tenant, or from
    # an unlimited one.
    known = idempotency.find_made([key], tenant=wallet.tenant)
    made = (known or idempotency.find_made([key], tenant="")).get(key)
    if made is not None:
        raise IdempotencyKeyReused(
            f"The books have transaction {made.pk} under this key ({made.status}): if it "
            f"is this payment, {_instead(made)}."
        )
    waiting = find_waiting(proof.reference, wallet.pk)
    if waiting is not None:
        raise InvalidInput(
            f"Withdrawal {waiting.pk} ({waiting.status}) leads to this reference: "
            f"{_instead(waiting)}.",
            field="reference",
        )

    # After this point the withdrawal must be entered.
    withdrawal = Transaction.objects.create(
        wallet=wallet,
        transaction_type=_WITHDRAWAL,
        amount=amount,
        scheduled_for=scheduled_for or proof.paid_at or now,
        idempotency_key=key,
        tenant=wallet.tenant,
        from_tenants_wallet=bool(wallet.tenant),
        actor=proof.actor,
        created_at=now,
    )
    evidence = "" if scheduled_for else idempotency.TIME_NOT_KNOWN
    transition.record_scheduled(
        [withdrawal], actor=proof.actor, now=now, evidence=evidence
    )
    return withdrawal


def _instead(known: Transaction) -> str:
    """Return what to do with a payment whose key or reference leads to this one."""
    if known.status == Transaction.Status.COMPLETED:
        return "the ledger has it as paid, or an operator has concluded it so"
    if known.status == Transaction.Status.PROCESSING:
        return (
            "wait until its open attempt is concluded, and record that one; if it needs "
            f"a review, manage.py review resolve {known.pk} --paid"
        )
    if rule_for(known.known_state, Event.RECORD_PAID) is not None:
        return f"record that one: manage.py review record {known.pk}"
    return "record it without the key, by its reference on the bank's list"


def _proof(
    evidence: str, actor: str, reference: uuid.UUID | None, paid_at: datetime | None
) -> Proof:
    check_words(evidence, actor)
    _check_instant(paid_at, "paid_at")
    return Proof(evidence.strip(), actor, reference, paid_at)


def _check_instant(moment: datetime | None, field_name: str) -> None:
    if moment is not None and timezone.is_naive(moment):
        raise InvalidInput("The time must have an offset.", field=field_name)


def _run(work: Callable[[], Transaction], proof: Proof) -> Transaction:
    """Run `work` in a transaction, unless an earlier run of it has committed."""

    def once() -> Transaction:
        ours = Attempt.objects.filter(claim_token=proof.token)
        made = ours.select_related("transaction__wallet").first()
        return made.transaction if made else work()

    return run_in_transaction(once)


def _complete(
    withdrawal: Transaction, proof: Proof, now: datetime, *, any_reference: bool = False
) -> Transaction:
    state = withdrawal.state
    if rule_for(state, Event.RECORD_PAID) is None:
        raise IllegalTransition(state.value, Event.RECORD_PAID.value)
    if proof.paid_at and proof.paid_at > now:
        raise InvalidInput("The time of payment is yet to come.", field="paid_at")
    wallets = postings.lock_wallets([withdrawal.wallet_id])
    withdrawal.wallet = wallets[withdrawal.wallet_id]
    postings.check_open(withdrawal.wallet)
    chosen = paid_attempt.choose(
        withdrawal, proof.reference, any_reference=any_reference
    )
    number, released = chosen.number, chosen.released
    sent_at = min(released.last_sent_at, now) if released else now
    paid_at = proof.paid_at or sent_at
    _check_balance(withdrawal.wallet, withdrawal.amount)

    # After this point the payment must be recorded.
    move = StateChange(
        withdrawal,
        Event.RECORD_PAID,
        evidence=proof.evidence,
        attempt_number=number,
        changes={
            "executed_at": paid_at,
            "retry_count": number - 1,
            "next_attempt_at": None,
            "failure_code": "",
            "third_party_response": "",
        },
    )
    kinds = [Movement.Kind(kind) for kind in move.rule().movements]
    transition.apply([move], actor=proof.actor, now=now)
    postings.post(
        [Posting(kind, withdrawal, number) for kind in kinds], wallets, now=now
    )
    paid = attempt.insert_paid(
        withdrawal,
        number,
        chosen.reference,
        answer=chosen.answer,
        token=proof.token,
        paid_at=paid_at,
        now=now,
    )
    alarm.end_said_paid(paid, chosen.number_at_bank, actor=proof.actor, now=now)
    return withdrawal


def _check_balance(wallet: Wallet, amount: int) -> None:
    try:
        postings.check_hold(wallet, amount)
    except InsufficientBalance as refusal:
        raise InsufficientBalance(
            f"{refusal}. The books may have forgotten deposits, too: have them made again "
            "(with their keys), or deposit what is missing, then record this."
        ) from None
