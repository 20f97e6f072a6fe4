"""Withdrawals: schedule, cancel, reschedule, retry now, execute, refund."""

from __future__ import annotations

import math
import uuid
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import transaction as db_transaction

from wallets.errors import NotCancelable, UnknownIsNotFailed
from wallets.models.attempt import Attempt
from wallets.models.states import Event, State, rule_for
from wallets.models.transaction import Transaction
from wallets.services.operations import alarm
from wallets.services.payouts import dispatch, outcome, payout, transition
from wallets.services.payouts.outcome import Conclusion
from wallets.services.payouts.recording import record_until
from wallets.services.payouts.transition import StateChange
from wallets.services.requests import idempotency
from wallets.services.requests.checks import check_actor, checked_amount, checked_uuid
from wallets.services.withdrawals.lock import id_of, lock
from wallets.services.withdrawals.reschedule import reschedule, reschedule_of
from wallets.services.withdrawals.schedule import ScheduleRequest, schedule_many
from wallets.utils import clock
from wallets.utils.bank.interface import Answer, Bank
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database import outage
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    database_now,
    run_in_transaction,
)
from wallets.utils.messaging import soft_limit
from wallets.utils.third_party import get_bank
from wallets.utils.words import NO_WORDS, Words

# For a worker, which has no client.
_run_patiently = partial(run_in_transaction, patience=math.inf)


class WithdrawalService:
    """Operations on one withdrawal. Sweeps over many are in `services.payouts.drain`."""

    @staticmethod
    def schedule(
        wallet_uuid: uuid.UUID | str,
        amount: int,
        scheduled_for: datetime,
        idempotency_key: uuid.UUID | str | None = None,
        *,
        fails_if_frozen: bool = False,
        words: Words = NO_WORDS,
        caller: Caller = ANYBODY,
        now: datetime | None = None,
    ) -> Transaction:
        """Schedule a withdrawal of `amount` (minor units) for a future instant.

        Opens its own transaction; locks what a new row of the wallet must. The balance
        is checked when the withdrawal is due, not here. A repeated key returns the
        first withdrawal as it is now, also when its time has passed. `schedule_many`
        returns a receipt, which also says whether it is a replay. If the wallet is
        frozen when it is due, it waits, or fails with `fails_if_frozen`.

        :raises InvalidAmount: (a `ValueError`) not an integer from 1 to 10**15.
        :raises InvalidSchedule: (a `ValueError`) naive, not in the future, or too far
            ahead.
        :raises InvalidIdempotencyKey: (a `ValueError`) not a UUID.
        :raises IdempotencyKeyReused: the key stands for another request.
        :raises WalletFrozen: the wallet is frozen for what goes out.
        :raises WalletClosed: the wallet is closed.
        :raises CurrencyNotPayable: the bank does not pay the wallet's currency.
        :raises Wallet.DoesNotExist: no such wallet.
        """
        amount = checked_amount(amount)
        given = idempotency_key is not None
        key = idempotency.parse_key(idempotency_key) if given else None
        target = checked_uuid(wallet_uuid)
        request = ScheduleRequest(
            target, amount, scheduled_for, key, fails_if_frozen, words
        )
        (result,) = schedule_many([request], caller=caller, now=now)
        if isinstance(result, Exception):
            raise result
        return result.transaction

    @staticmethod
    def cancel(
        transaction_id: int, *, actor: str = "client", now: datetime | None = None
    ) -> Transaction:
        """Cancel a withdrawal that has no open attempt.

        It has not begun, or it failed and waits for a retry, which is then not made. A
        cancelled withdrawal is returned unchanged. Opens its own transaction; locks the
        withdrawal.

        :raises InvalidInput: the actor is empty or too long.
        :raises NotCancelable: an attempt is open, or the withdrawal has ended
            otherwise.
        :raises Transaction.DoesNotExist: no such withdrawal.
        """
        check_actor(actor)

        def work() -> Transaction:
            withdrawal = lock(transaction_id)
            if withdrawal.state is State.CANCELLED:
                return withdrawal
            if rule_for(withdrawal.state, Event.CANCEL) is None:
                raise NotCancelable(withdrawal.state.value, Event.CANCEL.value)
            # After this point the cancellation must succeed.
            # The status is no longer FAILED; the transitions keep the reason of the
            # failure.
            changes = {"failure_code": "", "next_attempt_at": None}
            move = StateChange(withdrawal, Event.CANCEL, changes=changes)
            transition.apply([move], actor=actor, now=now or database_now())
            return withdrawal

        return run_in_transaction(work, patience=CLIENT_PATIENCE_SECONDS)

    @staticmethod
    def cancel_of(
        wallet_uuid: uuid.UUID | str, transaction_id: int, *, actor: str = ANYBODY.actor
    ) -> Transaction:
        """Cancel a withdrawal of this wallet, as `cancel`. Opens its own transactions.

        :raises NotCancelable: as `cancel`; also for a deposit.
        :raises Transaction.DoesNotExist: the wallet has no such transaction.
        """
        pk = id_of(
            wallet_uuid, transaction_id, event=Event.CANCEL, refusal=NotCancelable
        )
        return WithdrawalService.cancel(pk, actor=actor)

    reschedule = staticmethod(reschedule)
    reschedule_of = staticmethod(reschedule_of)

    @staticmethod
    def retry_now(transaction_id: int, *, actor: str) -> Transaction:
        """Make the next attempt of a failed withdrawal due now.

        Opens its own transaction; locks the withdrawal. The retry is counted and the
        balance is checked as usual.

        :raises InvalidInput: the actor is empty or too long; or an alarm says that the
            bank has paid the withdrawal already.
        :raises IllegalTransition: the withdrawal did not fail, or it failed for good.
        :raises Transaction.DoesNotExist: no such withdrawal.
        """
        check_actor(actor)

        def work() -> Transaction:
            withdrawal = lock(transaction_id)
            alarm.refuse_if_said_paid(withdrawal)
            now = database_now()
            move = StateChange(
                withdrawal, Event.RETRY_NOW, changes={"next_attempt_at": now}
            )
            transition.apply([move], actor=actor, now=now)
            db_transaction.on_commit(dispatch.hand_over_retry, robust=True)
            return withdrawal

        return run_in_transaction(work, patience=CLIENT_PATIENCE_SECONDS)

    @staticmethod
    def execute(
        transaction_id: int, *, bank: Bank | None = None, now: datetime | None = None
    ) -> Transaction:
        """Pay one due withdrawal: claim, call the bank, record.

        Opens its own transactions; call outside a transaction. `now` replaces the
        database's clock. Without enough balance the withdrawal fails for good with
        "Insufficient balance", and the bank is not called. If its wallet is frozen, it
        fails, or waits and is returned as it is.

        :raises Transaction.DoesNotExist: nothing to execute: the withdrawal is unknown,
            not due yet, claimed by another worker, or has ended.
        """
        bank, moment = bank or get_bank(), now or database_now()
        # Conditions on the row itself: when PostgreSQL has waited for a row, it checks
        # these again. It does not check a subquery again.
        executable = Transaction.is_due(moment) | Transaction.is_retryable(moment)
        candidates = Transaction.objects.filter(executable, pk=transaction_id)
        with soft_limit.deferred():
            claim = payout.claim(candidates, bank=bank.abilities, limit=1, now=now)
            for sending in claim.sendings:
                answer = bank.pay(sending.payment, send_before=sending.send_before)
                record_until([(sending, answer)], now=now)
        if not claim:
            raise Transaction.DoesNotExist(f"nothing to execute: {transaction_id}")
        return Transaction.objects.select_related("wallet").get(pk=transaction_id)

    @staticmethod
    def refund(
        transaction_id: int, answer: Answer, *, reference: uuid.UUID
    ) -> Transaction:
        """Release held money because `answer` proves that the bank did not pay.

        `reference` is the attempt that the answer is about: a refusal of an earlier
        attempt proves nothing about the current one. Opens its own transaction. A
        withdrawal that was refunded already is returned unchanged.

        :raises UnknownIsNotFailed: the answer is no such proof, is about another
            attempt, or was not the answer to the attempt's only request.
        :raises IllegalTransition: the money is not held.
        :raises Transaction.DoesNotExist: no such withdrawal.
        """

        def work() -> Transaction:
            attempt = (
                Attempt.objects.select_related("transaction")
                .filter(transaction_id=transaction_id)
                .last()
            )
            if attempt is None:
                raise Transaction.DoesNotExist(
                    f"no attempt to refund: {transaction_id}"
                )
            locked = outcome.lock([attempt])
            withdrawal = locked.transactions[transaction_id]
            attempt = locked.attempts[(transaction_id, attempt.number)]
            if withdrawal.status == Transaction.Status.FAILED:
                return withdrawal
            event = outcome.event_of(answer, attempt)
            proof = event in (Event.REJECTED, Event.NOT_SENT)
            if not proof or attempt.reference != reference:
                raise UnknownIsNotFailed(
                    "only proof that the bank did not pay gives held money back"
                )
            outcome.conclude(
                [
                    Conclusion(
                        withdrawal, attempt, event, answer.reason, answer.http_status
                    )
                ],
                locked.wallets,
                actor=payout.actor_name(),
                now=database_now(),
            )
            return withdrawal

        ends = clock.elapsed() + settings.WITHDRAWAL_RECORDING_TIME
        return outage.outlast(lambda: _run_patiently(work), ends=ends)
