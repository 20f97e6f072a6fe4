"""Sweeps over due withdrawals: claim in batches, call many at once, record in batches.

The database is the queue. However often and wherever a drain runs, each withdrawal is
claimed once; what nobody was woken for is found by the next sweep.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue

from django.conf import settings
from django.db.models import Min, QuerySet

from wallets.models.transaction import Transaction
from wallets.services import pause, payout
from wallets.services.payout import Claim, Sending
from wallets.services.recording import record_until
from wallets.utils import clock, soft_limit, stopping
from wallets.utils.bank import Abilities, Answer, Bank, Outcome
from wallets.utils.damaged import DAMAGED, each_alone
from wallets.utils.db import database_now, refuse_inside_transaction

logger = logging.getLogger(__name__)

FindDue = Callable[[datetime], QuerySet[Transaction]]

# While calls are under way, answers are let come in for so long before they are recorded:
# a transaction costs as much for one as for ten.
GATHER_SECONDS = 0.025


@functools.cache
def _callers(_pid: int, size: int) -> ThreadPoolExecutor:
    """This process's threads for calls to the bank; threads do not survive a fork."""
    return ThreadPoolExecutor(size, thread_name_prefix="bank")


def find_due(now: datetime) -> QuerySet[Transaction]:
    """Withdrawals whose time has come."""
    return Transaction.get_due_pending_withdrawals(now)


def find_retryable(now: datetime) -> QuerySet[Transaction]:
    """Failed withdrawals whose next attempt is due."""
    return Transaction.get_failed_retryable_withdrawals(now=now)


def _most_claimed(bank: Abilities) -> int:
    """How many may be claimed and not answered.

    As many again as can be called at once, and half as many while more are claimed: one
    waits for two calls at most. But what a worker that dies has claimed, sent or not, is
    unknown; where the bank could tell nobody, each is one more for a person to find out.
    """
    calls: int = settings.WITHDRAWAL_CONCURRENCY
    return 5 * calls // 2 if bank.looks_up or bank.dedupes else calls


def _answer_of(future: Future[Answer]) -> Answer:
    """What a call came to. A bug in the client says nothing about the payment."""
    try:
        return future.result()
    except Exception as error:
        logger.exception("a call to the bank ended without an answer")
        return Answer(Outcome.UNKNOWN, type(error).__name__)


class Drain:
    """One sweep: pays what is due, and what becomes due within `seconds`, at its time.

    Opens its own transactions. `now` is the clock that decides what is due. Claims run
    ahead of the calls, so that no caller waits for a claim or for a record; answers are
    recorded as many at once as have come in meanwhile.
    """

    def __init__(
        self,
        find: FindDue,
        *,
        bank: Bank,
        seconds: float,
        now: Callable[[], datetime] | None = None,
        on_last_look: Callable[[], None] = lambda: None,
        damaged: Iterable[int] = (),
    ) -> None:
        self._find = find
        self.looked = False  # whether it could claim what was due, if only nothing
        self._on_last_look = on_last_look  # called once nothing more will be claimed
        # A bank that can have many calls under way by itself needs no threads.
        pool = _callers(os.getpid(), settings.WITHDRAWAL_CONCURRENCY)
        self._pay: Callable[..., Future[Answer]] = getattr(
            bank,
            "pay_later",
            lambda payment, **options: pool.submit(bank.pay, payment, **options),
        )
        self._now = now or database_now
        self._given_now = now
        self._ends = clock.elapsed() + seconds
        self._looks_at = clock.elapsed()  # when to look for what is due
        self.damaged = list(damaged)  # withdrawals that cannot be claimed
        self._flying: dict[Future[Answer], Sending] = {}  # claimed and not recorded
        self._answered: SimpleQueue[Future[Answer]] = SimpleQueue()
        self._paused = False  # the last claim took nothing because payouts are paused
        self._limit = _most_claimed(bank.abilities)
        self._batch = min(settings.WITHDRAWAL_BATCH_SIZE, self._limit)

    def run(self) -> int:
        """Sweep until nothing more is due in time; return how many were claimed."""
        refuse_inside_transaction("a drain was run")
        if pause.is_paused():
            return 0
        with soft_limit.deferred():
            try:
                return self._sweep()
            finally:
                self._record_rest()

    def _sweep(self) -> int:
        claimed = 0
        while True:
            over = clock.elapsed() >= self._ends or stopping.wait(0)
            over = over or soft_limit.struck()
            room = self._room()
            if not over and room and clock.elapsed() >= self._looks_at:
                claimed += self._claim(room)
            if over or self._looks_at > self._ends:
                self._on_last_look()
            if self._flying:
                self._record(self._wait_for_answers(over))
            elif over or not self._sleep():
                return claimed

    def _room(self) -> int:
        """How many more may be claimed; none unless that is worth a transaction."""
        room = self._limit - self._unanswered()
        return min(room, self._batch) if room >= max(1, self._batch // 2) else 0

    def _unanswered(self) -> int:
        return len(self._flying) - self._answered.qsize()

    def _claim(self, limit: int) -> int:
        """Claim what is due and hand it to the callers; plan when to look again."""
        now = self._now()
        claimed = self._claim_sound(now, limit)
        if self._paused:
            # The next sweep asks again. What is in hand is sent and recorded.
            self._looks_at = float("inf")
            return claimed
        self.looked = True
        if claimed < limit:
            self._looks_at = clock.elapsed() + self._until_due()
        return claimed

    def _claim_sound(self, now: datetime, limit: int) -> int:
        """Claim what is due, but for damaged rows, for as long as this sweep lasts."""
        due = self._find(now)
        if self.damaged:
            due = due.exclude(pk__in=self.damaged)
        # The attempts begin when their locks are taken, not when somebody looked.
        begins = now if self._given_now else None
        try:
            return self._send(payout.claim(due, limit=limit, now=begins))
        except DAMAGED:
            claimed = 0

            def claim_one(pks: list[int]) -> None:
                nonlocal claimed
                one = due.filter(pk__in=pks)
                claimed += self._send(payout.claim(one, limit=1, now=begins))

            some = list(due.values_list("pk", flat=True)[:limit])
            self.damaged += each_alone(claim_one, some)
            return claimed

    def _send(self, claim: Claim) -> int:
        """Hand what was claimed to the callers, at once: it is known only here."""
        for sending in claim.sendings:
            future = self._pay(sending.payment, send_before=sending.send_before)
            self._flying[future] = sending
            future.add_done_callback(self._answered.put)
        self._paused = claim.paused
        return len(claim)

    def _wait_for_answers(self, over: bool) -> list[Future[Answer]]:
        """Wait for an answer; return all that are there. None when it is time to claim."""
        wait = min(self._until_claim(over), threading.TIMEOUT_MAX)
        try:
            done = [self._answered.get(timeout=wait)]
        except Empty:
            return []
        if self._unanswered() > 1 and self._answered.qsize() < self._batch // 2:
            time.sleep(min(GATHER_SECONDS, self._until_claim(over)))
        with contextlib.suppress(Empty):
            while len(done) < self._batch:
                done.append(self._answered.get_nowait())
        return done

    def _until_claim(self, over: bool) -> float:
        """Seconds until it is time to claim; infinite while nothing may be claimed."""
        if over or not self._room() or self._looks_at > self._ends:
            return float("inf")
        return max(0.0, self._looks_at - clock.elapsed())

    def _record(self, done: Sequence[Future[Answer]]) -> None:
        """Record answers. They are kept until that is done; nothing is claimed meanwhile."""
        results = [(self._flying[future], _answer_of(future)) for future in done]
        try:
            record_until(results)
        except Exception:
            self._forget(done)  # given up, and told
            raise
        self._forget(done)

    def _forget(self, done: Sequence[Future[Answer]]) -> None:
        for future in done:
            del self._flying[future]

    def _record_rest(self) -> None:
        """Whatever ended the sweep: hear out the calls under way, and record them."""
        if self._flying:
            ends = max(sending.lease_ends for sending in self._flying.values())
            done = wait(self._flying, max(0.0, ends - clock.elapsed())).done
            self._record([future for future in self._flying if future in done])

    def leaves_work(self) -> bool:
        """Whether something is due now that this sweep could have claimed, had it gone on.

        Within the tick's interval, for those that are paid at their time. Not what is damaged.
        """
        now = self._now()
        if self._find is find_due:
            now += timedelta(seconds=settings.WITHDRAWAL_DUE_INTERVAL)
        return self._find(now).exclude(pk__in=self.damaged).exists()

    def _sleep(self) -> bool:
        """Sleep towards what is due next; False when that is after this sweep's end."""
        if self._looks_at > self._ends:
            return False
        return not stopping.wait(self._looks_at - clock.elapsed())

    def _until_due(self) -> float:
        """Seconds until it is worth looking again: what is due next, or was scheduled."""
        if self._find is not find_due:
            return float("inf")  # retries are swept by their own, slower tick
        pending = Transaction.objects.filter(status=Transaction.Status.PENDING)
        if self.damaged:
            pending = pending.exclude(pk__in=self.damaged)
        due = pending.aggregate(due=Min("scheduled_for"))["due"]
        if due is None:
            return float("inf")
        wait = (due - self._now()).total_seconds()
        if clock.elapsed() + wait > self._ends:
            return float("inf")
        # What is due and was not claimed is being claimed by somebody else.
        return min(max(0.01, wait), settings.WITHDRAWAL_POLL)
