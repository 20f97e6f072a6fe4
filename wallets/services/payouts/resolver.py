"""Finds the outcomes of attempts whose outcome is unknown.

Unknown is not failed. Held money is released only if the bank said "refused", or said
"not found" twice when that counts (`services.payouts.belief`), or an operator has evidence.

A damaged row does not stop the others: it is skipped with an alarm, and tried again
after WITHDRAWAL_CHECK_CAP seconds. Nor does a locked one: a round waits for it when it
has done the others, once, for one lock time-out; then it is left to the next round.
"""

from __future__ import annotations

import contextlib
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from wallets.models.attempt import Attempt
from wallets.services.payouts import (
    attempt,
    damage,
    kept,
    look_up,
    moment,
    payout,
    take,
)
from wallets.services.payouts.busy_wallets import MAX_LEFT_OUT
from wallets.services.payouts.look_up import Found
from wallets.services.payouts.moment import Moment
from wallets.services.payouts.payout import Result, Sending
from wallets.services.payouts.recording import record_until
from wallets.services.payouts.step import Check, Step
from wallets.utils import clock
from wallets.utils.bank.interface import Answer, Bank
from wallets.utils.damaged import DAMAGED, all_or_each, each_alone
from wallets.utils.database.transactions import (
    run_in_transaction,
    run_unless_locked,
)
from wallets.utils.messaging import soft_limit


@soft_limit.deferred()
def resolve_due(
    *,
    bank: Bank,
    limit: int,
    now: datetime | None = None,
    elapsed: float | None = None,
    damaged: set[int] | None = None,
) -> int:
    """Process attempts whose check is due, one round; return how many.

    Opens its own transactions, before and after the calls; call outside a transaction.
    `now` replaces the clocks of database and host, `elapsed` that of `clock.elapsed`
    (seconds). Attempts in `damaged` are skipped, and newly found damaged ones are added
    to it.
    """
    return Round(bank, limit, now, elapsed, damaged).run()


class Round:
    """One round over the attempts whose check is due: take, ask, record."""

    def __init__(
        self,
        bank: Bank,
        limit: int,
        now: datetime | None,
        elapsed: float | None,
        damaged: set[int] | None,
    ) -> None:
        self._bank = bank
        self._limit = limit
        self._now = now
        self._elapsed = elapsed
        self._damaged: set[int] = set() if damaged is None else damaged

    def run(self) -> int:
        """Process the due attempts; return how many, including damaged ones.

        Locked wallets may have taken the places of others: so it goes on without them,
        until it finds no more of them or its time is over.
        """
        ends = clock.elapsed() + settings.WITHDRAWAL_RESOLVE_INTERVAL
        count, busy = self._do(Q(), wait=False)
        more = busy
        while more and len(busy) < MAX_LEFT_OUT and clock.elapsed() < ends:
            others = ~Q(transaction__wallet__in=busy)
            done, more = self._do(others, wait=False)
            count += done
            busy = busy | more
        if busy:
            count += self._do(Q(transaction__wallet__in=busy), wait=True)[0]
        return count

    def _do(self, which: Q, *, wait: bool) -> tuple[int, set[int]]:
        """Take, ask and record; return how many, and the wallets that are locked."""
        before = len(self._damaged)
        started = clock.elapsed()
        checks, busy = self._take(which, wait)
        count = len(checks) + len(self._damaged) - before
        look_ups = [check for check in checks if check.step is Step.LOOK_UP]
        sendings = [
            payout.sending(check.attempt, started)
            for check in checks
            if check.step is Step.RESEND
        ]
        if look_ups or sendings:
            self._ask(look_ups, sendings)
        return count, busy

    def _take(self, which: Q, wait: bool) -> tuple[list[Check], set[int]]:
        """Take what is due; if damaged or locked rows prevent that, one by one.

        What it has waited for in vain is left to the next round.
        """
        with contextlib.suppress(*DAMAGED):
            taken = self._take_of(which, wait)
            if taken is not None:
                return taken
            if wait:
                return [], set()
        checks: list[Check] = []
        busy: set[int] = set()
        ends = clock.elapsed() + settings.WITHDRAWAL_LEASE / 2

        def take_one(pks: list[int]) -> None:
            if clock.elapsed() < ends and (one := self._take_of(Q(pk__in=pks), wait)):
                checks.extend(one[0])
                busy.update(one[1])

        due = self._due(moment.read(self._now)).filter(which)
        pks = list(due.values_list("pk", flat=True)[: self._limit])
        each_alone(take_one, pks, put_aside=self._put_aside)
        return checks, busy

    def _take_of(self, which: Q, wait: bool) -> tuple[list[Check], set[int]] | None:
        """Take these; None after a lock time-out, which `wait=False` does not exclude.

        MariaDB locks entries of indexes, too, and an UPDATE waits for them.
        """

        def work() -> tuple[list[Check], set[int]]:
            taken = moment.read(self._now, self._elapsed)
            candidates = self._due(taken).filter(which)[: self._limit]
            return take.take(candidates, self._bank.abilities, taken, wait=wait)

        return run_unless_locked(work)

    def _due(self, taken: Moment) -> QuerySet[Attempt]:
        due = take.due(taken.now).exclude(pk__in=self._damaged)
        return due.order_by("next_check_at")

    def _ask(self, look_ups: list[Check], sendings: list[Sending]) -> None:
        """Call the bank for all attempts concurrently, and record the answers."""
        bank = self._bank
        with ThreadPoolExecutor(settings.WITHDRAWAL_CONCURRENCY) as pool:
            found = pool.map(lambda check: bank.look_up(check.payment), look_ups)
            sent = pool.map(
                lambda s: bank.pay(s.payment, send_before=s.send_before), sendings
            )
            answers = list(zip(look_ups, found, strict=True))
            results = list(zip(sendings, sent, strict=True))
        results = self._record_sent(results, wait=False)
        answers = self._record_found(answers, wait=False)
        kept.keep(self._record_sent(results, wait=True))
        self._record_found(answers, wait=True)

    def _record_sent(self, results: list[Result], *, wait: bool) -> list[Result]:
        """Record answers to payments; return those about locked rows.

        With `wait` it waits for them for one lock time-out.
        """
        return record_until(
            results,
            now=self._now,
            put_aside=self._put_answer_aside,
            wait=wait,
            patience=0 if wait else math.inf,
        )

    def _record_found(self, answers: list[Found], *, wait: bool) -> list[Found]:
        """Record answers to look-ups; return those about locked rows."""
        busy: list[Found] = []

        def record(some: list[Found]) -> None:
            busy.extend(
                look_up.record(
                    some,
                    self._bank.abilities,
                    now=self._now,
                    elapsed=self._elapsed,
                    wait=wait,
                )
            )

        all_or_each(record, answers, put_aside=self._put_answer_aside)
        return busy

    def _put_answer_aside(
        self, answered: tuple[Check | Sending, Answer], error: Exception
    ) -> None:
        asked, answer = answered
        self._put_aside(
            asked.attempt.pk, error, f"the bank said {answer.outcome.name};"
        )

    def _put_aside(self, pk: int, error: Exception, note: str = "") -> None:
        """Raise an alarm, and postpone the next check if the row can be updated."""
        self._damaged.add(pk)
        row = Attempt.objects.filter(pk=pk)
        withdrawal_id = row.values_list("transaction_id", flat=True).first()
        damage.report(f"attempt {pk}", error, withdrawal_id=withdrawal_id, note=note)
        again = moment.read(self._now).now + timedelta(
            seconds=settings.WITHDRAWAL_CHECK_CAP
        )
        # A row that violates a constraint refuses this UPDATE, too; each sweep meets it
        # again.
        with contextlib.suppress(*DAMAGED):
            run_in_transaction(lambda: attempt.put_off(pk, again))
