"""Demo data: a day of the service, made through the services with past times.

Only services write, and only the scripted bank of this module is called. The same seed
makes the same day.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from wallets.errors import NotCancelable
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts import payout, resolver
from wallets.services.payouts.payout import Sending
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.utils import clock
from wallets.utils.bank.interface import Abilities, Answer, Outcome, Payment

Event = Callable[[datetime], object]

_PAID = '{"data": "success", "status": 200}'
_REFUSED = '{"data": "failed", "status": 503}'
# The least seconds between schedule and due time: no worker is woken.
NOTICE = 120
# The bank's outage, in minutes before the end of the day.
OUTAGE = (44, 41)


class DemoBank:
    """Pays, refuses, is away for a while, loses answers, never answers about a few."""

    abilities = Abilities(looks_up=True, booking_time=1, lookup_window=math.inf)

    def __init__(self, rng: random.Random, outage: tuple[datetime, datetime]) -> None:
        self._rng = rng
        self._outage = outage
        # The payments and their times, by reference.
        self.paid: dict[UUID, tuple[Payment, datetime]] = {}
        self._silent: set[UUID] = set()
        self.now = outage[0]

    def pay(self, payment: Payment, *, send_before: float) -> Answer:
        if self._outage[0] <= self.now < self._outage[1] and self._rng.random() < 0.7:
            if self._rng.random() < 0.5:
                return Answer(Outcome.NOT_SENT, "ConnectionRefusedError")
            return Answer(Outcome.REJECTED, _REFUSED, 200)
        luck = self._rng.random()
        if luck < 0.020:
            return Answer(Outcome.REJECTED, _REFUSED, 200)
        if luck < 0.026:
            return Answer(Outcome.NOT_SENT, "ConnectTimeoutError")
        if luck < 0.028:
            self._silent.add(payment.reference)
            return Answer(Outcome.UNKNOWN, "ReadTimeoutError")
        if luck < 0.031:
            return Answer(Outcome.UNKNOWN, "ReadTimeoutError")
        self.paid[payment.reference] = (payment, self.now)
        if luck < 0.037:
            return Answer(Outcome.UNKNOWN, "deadline")
        return Answer(Outcome.ACCEPTED, _PAID, 200)

    def look_up(self, payment: Payment) -> Answer:
        if payment.reference in self._silent:
            return Answer(Outcome.UNKNOWN, "<html>Bad Gateway</html>", 502)
        if payment.reference in self.paid:
            return Answer(Outcome.ACCEPTED, _PAID, 200)
        return Answer(Outcome.NOT_FOUND, '{"data": "unknown", "status": 404}', 404)


class DemoDay:
    """The day that ends at `end`: a queue of events by time."""

    def __init__(
        self, *, end: datetime, wallets: int, withdrawals: int, seed: int
    ) -> None:
        self._rng = random.Random(seed)  # noqa: S311 (no secret)
        self._end = end
        self._start = end - timedelta(days=1)
        self._began = clock.elapsed()
        outage = tuple(end - timedelta(minutes=minutes) for minutes in OUTAGE)
        self._bank = DemoBank(self._rng, outage)  # type: ignore[arg-type]
        self._queue: list[tuple[datetime, int, Event]] = []
        self._number = itertools.count()
        self._unknown: set[int] = set()
        self._wallet_count, self._withdrawal_count = wallets, withdrawals
        self._wallets: list[Wallet] = []

    @property
    def paid(self) -> list[tuple[Payment, datetime]]:
        """The payments of the day's bank, with their times."""
        return list(self._bank.paid.values())

    def live(self, progress: Callable[[float], None]) -> None:
        """Run the day, then schedule the withdrawals after it."""
        self._open_wallets()
        self._plan()
        while self._queue and self._queue[0][0] <= self._end:
            moment, _, event = heapq.heappop(self._queue)
            self._bank.now = moment
            event(moment)
            progress((moment - self._start) / (self._end - self._start))
        self._plan_tomorrow()
        progress(1)

    def _at(self, moment: datetime, event: Event) -> None:
        heapq.heappush(self._queue, (moment, next(self._number), event))

    def _open_wallets(self) -> None:
        for _ in range(self._wallet_count):
            opened = self._start + timedelta(seconds=self._rng.uniform(0, 600))
            wallet = WalletService.create(now=opened)
            self._wallets.append(wallet)
            first = int(self._rng.lognormvariate(14.6, 0.9))
            self._deposit_at(opened + timedelta(seconds=5), wallet, first)
            for _ in range(self._rng.randint(2, 9)):
                amount = int(self._rng.lognormvariate(12.6, 1))
                self._deposit_at(self._daytime(), wallet, amount)

    def _deposit_at(self, moment: datetime, wallet: Wallet, amount: int) -> None:
        amount = _rounded(amount)
        self._at(
            moment, lambda now: WalletService.deposit(wallet.uuid, amount, now=now)
        )

    def _plan(self) -> None:
        for _ in range(self._withdrawal_count):
            due = self._daytime()
            notice = self._rng.uniform(NOTICE, 3600)
            planned = max(due - timedelta(seconds=notice), self._start)
            self._schedule_at(planned, due + timedelta(seconds=NOTICE))

    def _schedule_at(self, planned: datetime, due: datetime) -> None:
        wallet = self._rng.choice(self._wallets)
        amount = self._amount()

        def schedule(now: datetime) -> None:
            row = WithdrawalService.schedule(wallet.uuid, amount, due, now=now)
            if self._rng.random() < 0.02:
                half = now + (due - now) / 2
                self._at(half, lambda moment: self._cancel(row.pk, moment))
            late = self._rng.lognormvariate(math.log(0.04), 0.8)
            self._at(due + timedelta(seconds=late), lambda now: self._pay(row.pk, now))

        self._at(planned, schedule)

    def _cancel(self, pk: int, now: datetime) -> None:
        try:
            WithdrawalService.cancel(pk, now=now)
        except NotCancelable:
            return

    def _pay(self, pk: int, now: datetime) -> None:
        executable = Transaction.is_due(now) | Transaction.is_retryable(now)
        rows = Transaction.objects.filter(executable, pk=pk)
        for sending in payout.claim(
            rows, bank=self._bank.abilities, limit=1, now=now
        ).sendings:
            answer = self._bank.pay(sending.payment, send_before=sending.send_before)
            took = timedelta(seconds=self._rng.lognormvariate(math.log(0.18), 0.5))
            if answer.outcome is Outcome.UNKNOWN:
                took = timedelta(seconds=settings.THIRD_PARTY_DEADLINE)
            self._record_at(now + took, sending, answer)

    def _record_at(self, moment: datetime, sending: Sending, answer: Answer) -> None:
        def record(now: datetime) -> None:
            payout.record([(sending, answer)], now=now)
            self._go_on(sending.attempt.transaction_id, now)

        self._at(moment, record)

    def _go_on(self, pk: int, now: datetime) -> None:
        """Queue the next event: a retry or a look-up."""
        row = Transaction.objects.get(pk=pk)
        if row.next_attempt_at:
            late = timedelta(seconds=self._rng.uniform(0.02, 2))
            self._at(row.next_attempt_at + late, lambda moment: self._pay(pk, moment))
        if row.unknown_since:
            self._unknown.add(pk)
            attempt = Attempt.objects.get(transaction_id=pk, open=True)
            when = max(attempt.next_check_at or now, now + timedelta(seconds=1))
            self._at(when, lambda moment: self._check(pk, moment))

    def _check(self, pk: int, now: datetime) -> None:
        if pk in self._unknown:
            # Elapsed time is that of the day, not of the computer.
            passed = (now - self._start).total_seconds()
            resolver.resolve_due(
                bank=self._bank, limit=64, now=now, elapsed=self._began + passed
            )
            self._unknown.discard(pk)
            self._go_on(pk, now)

    def _plan_tomorrow(self) -> None:
        """Schedule the future: many in the next hour, some in the next days."""
        per_hour = max(12, self._withdrawal_count // 14)
        for index in range(per_hour + per_hour // 2):
            seconds = self._rng.uniform(NOTICE, 3700)
            if index >= per_hour:
                seconds = self._rng.uniform(3700, 3 * 86400)
            WithdrawalService.schedule(
                self._rng.choice(self._wallets).uuid,
                self._amount(),
                self._end + timedelta(seconds=seconds),
            )

    def _daytime(self) -> datetime:
        """Return a time of the day, more likely in its last hours."""
        share = self._rng.betavariate(2.2, 1.0)
        return self._start + timedelta(minutes=15) + share * timedelta(hours=23.7)

    def _amount(self) -> int:
        return _rounded(int(self._rng.lognormvariate(10.2, 1.1)))


def _rounded(amount: int) -> int:
    """Return a round number, as people mostly choose."""
    step = 10 ** max(0, len(str(amount)) - 2)
    return max(100, amount // step * step)
