"""Finds out what became of attempts that nobody knows the outcome of.

Unknown is not failed: held money goes back only when the bank said "refused", or said "not
found" twice when that can be believed (`services.payouts.belief`), or an operator knows.

One damaged row stops nobody else: it is put aside with an alarm, and looked at again as
seldom as rows are that nobody can find out.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from wallets.models.attempt import Attempt
from wallets.services.payouts import attempt, damage, look_up, moment, payout, take
from wallets.services.payouts.moment import Moment
from wallets.services.payouts.payout import Sending
from wallets.services.payouts.recording import record_until
from wallets.services.payouts.step import Check, Step
from wallets.utils import clock
from wallets.utils.bank.interface import Answer, Bank
from wallets.utils.damaged import DAMAGED, all_or_each, each_alone
from wallets.utils.database.transactions import run_in_transaction
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
    """Look into attempts whose check is due, one round; return how many.

    Opens its own transactions, before and after the calls; the bank is called in none.
    `now` stands for the clocks of database and host, `elapsed` for what `clock.elapsed`
    shows. Attempts of `damaged` are left out, and those that turn out to be are added.
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
        """Look into what is due; return how many attempts, damaged ones too."""
        before = len(self._damaged)
        started = clock.elapsed()
        checks = self._take()
        count = len(checks) + len(self._damaged) - before
        look_ups = [check for check in checks if check.step is Step.LOOK_UP]
        sendings = [
            payout.sending(check.attempt, started)
            for check in checks
            if check.step is Step.RESEND
        ]
        if look_ups or sendings:
            self._ask(look_ups, sendings)
        return count

    def _take(self) -> list[Check]:
        """Take what is due; if that fails by damaged rows, one after the other."""
        try:
            return self._take_of(Q())
        except DAMAGED:
            checks: list[Check] = []
            due = self._due(moment.read(self._now))
            each_alone(
                lambda pks: checks.extend(self._take_of(Q(pk__in=pks))),
                list(due.values_list("pk", flat=True)[: self._limit]),
                put_aside=self._put_aside,
            )
            return checks

    def _take_of(self, which: Q) -> list[Check]:
        def work() -> list[Check]:
            taken = moment.read(self._now, self._elapsed)
            candidates = self._due(taken).filter(which)[: self._limit]
            return take.take(candidates, self._bank.abilities, taken)

        return run_in_transaction(work)

    def _due(self, taken: Moment) -> QuerySet[Attempt]:
        due = take.due(taken.now).exclude(pk__in=self._damaged)
        return due.order_by("next_check_at")

    def _ask(self, look_ups: list[Check], sendings: list[Sending]) -> None:
        """Ask the bank about all of them at once, and record what it says."""
        bank = self._bank
        with ThreadPoolExecutor(settings.WITHDRAWAL_CONCURRENCY) as pool:
            found = pool.map(lambda check: bank.look_up(check.payment), look_ups)
            sent = pool.map(
                lambda s: bank.pay(s.payment, send_before=s.send_before), sendings
            )
            answers = list(zip(look_ups, found, strict=True))
            results = list(zip(sendings, sent, strict=True))
        record_until(results, now=self._now, put_aside=self._put_answer_aside)
        all_or_each(
            lambda some: look_up.record(
                some, bank.abilities, now=self._now, elapsed=self._elapsed
            ),
            answers,
            put_aside=self._put_answer_aside,
        )

    def _put_answer_aside(
        self, answered: tuple[Check | Sending, Answer], error: Exception
    ) -> None:
        asked, answer = answered
        self._put_aside(
            asked.attempt.pk, error, f"the bank said {answer.outcome.name};"
        )

    def _put_aside(self, pk: int, error: Exception, note: str = "") -> None:
        """Call a person, and look at it again later, if the row can be written to."""
        self._damaged.add(pk)
        row = Attempt.objects.filter(pk=pk)
        withdrawal_id = row.values_list("transaction_id", flat=True).first()
        damage.report(f"attempt {pk}", error, withdrawal_id=withdrawal_id, note=note)
        again = moment.read(self._now).now + timedelta(
            seconds=settings.WITHDRAWAL_CHECK_CAP
        )
        # A row that breaks a rule itself refuses even this: it is met in each sweep.
        with contextlib.suppress(*DAMAGED):
            run_in_transaction(lambda: attempt.put_off(pk, again))
