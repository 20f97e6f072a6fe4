"""Sweeps over due withdrawals: claim in batches, call concurrently, record in batches.

The database is the queue: a sweep needs no message, and several may run at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue

from django.conf import settings
from django.db.models import Min, QuerySet

from wallets.models.transaction import Transaction
from wallets.services.operations import pause
from wallets.services.payouts import busy_wallets, calls, payout
from wallets.services.payouts.payout import Claim, Result, Sending
from wallets.services.payouts.recording import record_until
from wallets.utils import clock
from wallets.utils.bank.interface import Abilities, Answer, Bank
from wallets.utils.damaged import DAMAGED, each_alone
from wallets.utils.database.transactions import database_now, refuse_inside_transaction
from wallets.utils.messaging import soft_limit, stopping

FindDue = Callable[[datetime], QuerySet[Transaction]]

# While calls are in flight, answers are gathered for this long before they are
# recorded: one transaction costs as much for one answer as for ten.
GATHER_SECONDS = 0.025
# What is due within this time is claimed before answers are recorded.
SOON_SECONDS = 0.01


def find_due(now: datetime) -> QuerySet[Transaction]:
    """Return the pending withdrawals that are due."""
    return Transaction.get_due_pending_withdrawals(now)


def find_retryable(now: datetime) -> QuerySet[Transaction]:
    """Return the failed withdrawals whose next attempt is due."""
    return Transaction.get_failed_retryable_withdrawals(now=now)


def _most_claimed(bank: Abilities) -> int:
    """Return how many withdrawals may be claimed without an answer yet.

    Twice the number of concurrent calls, and half of that number while more are
    claimed: so one waits for two calls at most. At a bare bank only as many as can be
    called, because each attempt that a dying worker has claimed, sent or not, then
    needs a review.
    """
    calls: int = settings.WITHDRAWAL_CONCURRENCY
    return 5 * calls // 2 if bank.looks_up or bank.dedupes else calls


class Drain:
    """One sweep: pays what is due, and what becomes due within `seconds`, at its time.

    Opens its own transactions; call outside one. `now` is the clock that decides what is
    due. Claims run ahead of the calls, so that no call waits for a claim or a record.
    Answers are recorded in batches. The sweep skips locked wallets; threads wait for them.
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
        self.looked = False  # whether a claim was possible, even if nothing was due
        self._on_last_look = on_last_look  # called when nothing more will be claimed
        self._pay = calls.pay_later(bank)
        self._pause = calls.PauseWatch()
        self._now = now or database_now
        self._given_now = now
        self._ends = clock.elapsed() + seconds
        self._looks_at = clock.elapsed()  # when to look for what is due
        self.damaged = list(damaged)  # withdrawals that cannot be claimed
        # Claimed and not recorded; threads that wait for a locked wallet add to it.
        self._flying: dict[Future[Answer], Sending] = {}
        self._busy = busy_wallets.BusyWallets()
        self._put_off: list[Result] = []  # answers about locked wallets
        self._put_off_since = 0.0
        self._claimed = 0
        self._answered: SimpleQueue[Future[Answer]] = SimpleQueue()
        self._paused = False  # the last claim took nothing because payouts are paused
        self._limit = _most_claimed(bank.abilities)
        self._batch = min(settings.WITHDRAWAL_BATCH_SIZE, self._limit)
        # The most that one thread claims for a locked wallet.
        self._share = max(1, self._batch // 8)

    def run(self) -> int:
        """Sweep until nothing more is due in time; return how many were claimed.

        :raises InsideTransaction: called inside a transaction.
        """
        refuse_inside_transaction("a drain was run")
        if pause.is_paused():
            return 0
        with soft_limit.deferred():
            try:
                self._sweep()
            finally:
                self._busy.end()
                self._record_rest()
        return self._claimed

    def _sweep(self) -> None:
        while True:
            over = clock.elapsed() >= self._ends or stopping.wait(0)
            over = over or soft_limit.struck()
            room = self._room()
            if not over and room and clock.elapsed() >= self._looks_at:
                self._claim(room)
            if over or self._looks_at > self._ends:
                self._on_last_look()
            if self._flying or self._put_off:
                done = self._wait_for_answers(over)
                soon = self._until_claim(over)
                if done and soon < SOON_SECONDS and not stopping.wait(soon):
                    self._claim(self._room())
                self._record(done)
            elif over or not self._sleep():
                return

    def _room(self) -> int:
        """How many more may be claimed; 0 if fewer than half a batch."""
        room = self._limit - self._unanswered()
        return min(room, self._batch) if room >= max(1, self._batch // 2) else 0

    def _unanswered(self) -> int:
        waiting = self._share * len(self._busy.waited_for())
        return len(self._flying) - self._answered.qsize() + waiting

    def _claim(self, limit: int) -> None:
        """Claim what is due and start the calls; plan the next claim."""
        now = self._now()
        due = self._find(now).exclude(wallet__in=self._busy.waited_for())
        before = self._claimed
        busy = self._claim_sound(due, now, limit)
        if self._paused:
            # The next sweep checks again. What is claimed already is recorded.
            self._looks_at = float("inf")
            return
        self._busy.found(busy, self._claim_busy)
        self.looked = True
        if self._claimed - before < limit:
            self._looks_at = clock.elapsed() + self._until_due()

    def _claim_busy(self, wallet_id: int) -> None:
        """Wait for the wallet, and claim some of its due rows. Runs in a thread."""
        now = self._now()
        due = self._find(now).filter(wallet=wallet_id)
        self._claim_sound(due, now, self._share, wait=True)

    def _claim_sound(
        self,
        due: QuerySet[Transaction],
        now: datetime,
        limit: int,
        *,
        wait: bool = False,
    ) -> set[int]:
        """Claim what is due, without damaged rows, while this sweep lasts.

        Returns the locked wallets that were skipped; none with `wait=True`.
        """
        if self.damaged:
            due = due.exclude(pk__in=self.damaged)
        # Attempts begin when their locks are taken, not when the due rows were read.
        begins = now if self._given_now else None
        busy: set[int] = set()

        def claim(some: QuerySet[Transaction], limit: int) -> None:
            claimed = payout.claim(some, limit=limit, now=begins, wait=wait)
            self._send(claimed)
            busy.update(claimed.busy)

        try:
            claim(due, limit)
        except DAMAGED:
            some = list(due.values_list("pk", flat=True)[:limit])
            self.damaged += each_alone(
                lambda pks: claim(due.filter(pk__in=pks), 1), some
            )
        return busy

    def _send(self, claim: Claim) -> None:
        """Start the calls of a claim at once: no other process knows its attempts."""
        for sending in claim.sendings:
            future = self._pay(sending.payment, send_before=sending.send_before)
            self._flying[future] = sending
            future.add_done_callback(self._answered.put)
        self._paused = claim.paused
        self._claimed += len(claim)

    def _wait_for_answers(self, over: bool) -> list[Future[Answer]]:
        """Wait for answers; return those that are there. Empty: time to claim."""
        self._pause.look(self._flying)
        longest = GATHER_SECONDS if self._put_off else calls.PAUSE_SECONDS
        wait = min(self._until_claim(over), longest)
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
        """Seconds until the next claim; infinite while nothing may be claimed."""
        if over or not self._room() or self._looks_at > self._ends:
            return float("inf")
        return max(0.0, self._looks_at - clock.elapsed())

    def _record(self, done: Sequence[Future[Answer]], *, wait: bool = False) -> None:
        """Record answers. They are kept until they are recorded.

        Nothing is claimed meanwhile. With `wait=False` answers about locked wallets are
        postponed, and after a short time left to a thread.
        """
        results = [(self._flying[future], calls.answer_of(future)) for future in done]
        if not self._put_off:
            self._put_off_since = clock.elapsed()
        try:
            busy = record_until([*self._put_off, *results], wait=wait)
        except Exception:
            self._forget(done)  # given up and logged
            self._put_off = []
            raise
        self._forget(done)
        self._put_off = busy
        looking = clock.elapsed() - self._put_off_since < busy_wallets.LOOKING_SECONDS
        if (
            busy
            and not looking
            and self._busy.leave_answers(lambda: record_until(busy))
        ):
            self._put_off = []

    def _forget(self, done: Sequence[Future[Answer]]) -> None:
        for future in done:
            del self._flying[future]

    def _record_rest(self) -> None:
        """Wait for the calls in flight and record them, however the sweep ended."""
        done: list[Future[Answer]] = []
        if self._flying:
            ends = max(sending.lease_ends for sending in self._flying.values())
            over = wait(self._flying, max(0.0, ends - clock.elapsed())).done
            done = [future for future in self._flying if future in over]
        self._record(done, wait=True)

    def leaves_work(self) -> bool:
        """Whether something is due that this sweep could claim if it went on.

        For pending withdrawals: due within the tick's interval. Damaged ones do not
        count.
        """
        now = self._now()
        if self._find is find_due:
            now += timedelta(seconds=settings.WITHDRAWAL_DUE_INTERVAL)
        return self._find(now).exclude(pk__in=self.damaged).exists()

    def _sleep(self) -> bool:
        """Sleep until the next claim; False if it is after the end of this sweep."""
        if self._looks_at > self._ends:
            return False
        return not stopping.wait(self._looks_at - clock.elapsed())

    def _until_due(self) -> float:
        """Seconds until the next claim is useful."""
        if self._find is not find_due:
            return float("inf")  # retries are swept by their own, slower tick
        busy = self._busy.waited_for()
        again = busy_wallets.AGAIN_SECONDS if busy else float("inf")
        pending = Transaction.objects.filter(status=Transaction.Status.PENDING)
        pending = pending.exclude(wallet__in=busy)
        if self.damaged:
            pending = pending.exclude(pk__in=self.damaged)
        due = pending.aggregate(due=Min("scheduled_for"))["due"]
        if due is None:
            return again
        wait = (due - self._now()).total_seconds()
        if clock.elapsed() + wait > self._ends:
            return again
        # If something is due and was not claimed, another drain is claiming it.
        return min(max(0.01, wait), settings.WITHDRAWAL_POLL, again)
