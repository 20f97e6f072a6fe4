"""Sweeps over due withdrawals: claim in batches, call many at once, record in batches.

The database is the queue. However often and wherever a drain runs, each withdrawal is
claimed once; what nobody was woken for is found by the next sweep.
"""

from __future__ import annotations

import contextlib
import threading
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

# While calls are under way, answers are let come in for so long before they are recorded:
# a transaction costs as much for one as for ten.
GATHER_SECONDS = 0.025
# What is due so soon is claimed before answers are recorded, which takes about as long.
SOON_SECONDS = 0.01


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


class Drain:
    """One sweep: pays what is due, and what becomes due within `seconds`, at its time.

    Opens its own transactions. `now` is the clock that decides what is due. Claims run
    ahead of the calls, so that no caller waits for a claim or for a record; answers are
    recorded as many at once as have come in meanwhile. Wallets that somebody else holds are
    not waited for, but by threads beside it.
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
        self._pay = calls.pay_later(bank)
        self._now = now or database_now
        self._given_now = now
        self._ends = clock.elapsed() + seconds
        self._looks_at = clock.elapsed()  # when to look for what is due
        self.damaged = list(damaged)  # withdrawals that cannot be claimed
        # Claimed and not recorded; threads that wait for a busy wallet add to it.
        self._flying: dict[Future[Answer], Sending] = {}
        self._busy = busy_wallets.BusyWallets()
        self._put_off: list[Result] = []  # answers about busy wallets
        self._put_off_since = 0.0
        self._claimed = 0
        self._answered: SimpleQueue[Future[Answer]] = SimpleQueue()
        self._paused = False  # the last claim took nothing because payouts are paused
        self._limit = _most_claimed(bank.abilities)
        self._batch = min(settings.WITHDRAWAL_BATCH_SIZE, self._limit)
        # So many are claimed at once for a wallet that was busy.
        self._share = max(1, self._batch // 8)

    def run(self) -> int:
        """Sweep until nothing more is due in time; return how many were claimed."""
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
        """How many more may be claimed; none unless that is worth a transaction."""
        room = self._limit - self._unanswered()
        return min(room, self._batch) if room >= max(1, self._batch // 2) else 0

    def _unanswered(self) -> int:
        waiting = self._share * len(self._busy.waited_for())
        return len(self._flying) - self._answered.qsize() + waiting

    def _claim(self, limit: int) -> None:
        """Claim what is due and hand it to the callers; plan when to look again."""
        now = self._now()
        due = self._find(now).exclude(wallet__in=self._busy.waited_for())
        before = self._claimed
        busy = self._claim_sound(due, now, limit)
        if self._paused:
            # The next sweep asks again. What is in hand is sent and recorded.
            self._looks_at = float("inf")
            return
        self._busy.found(busy, self._claim_busy)
        self.looked = True
        if self._claimed - before < limit:
            self._looks_at = clock.elapsed() + self._until_due()

    def _claim_busy(self, wallet_id: int) -> None:
        """Wait for the wallet, and claim some of what is due of it. In a thread."""
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
        """Claim what is due, but for damaged rows, for as long as this sweep lasts.

        Return the wallets that were busy, unless it may `wait` for them.
        """
        if self.damaged:
            due = due.exclude(pk__in=self.damaged)
        # The attempts begin when their locks are taken, not when somebody looked.
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
        """Hand what was claimed to the callers, at once: it is known only here."""
        for sending in claim.sendings:
            future = self._pay(sending.payment, send_before=sending.send_before)
            self._flying[future] = sending
            future.add_done_callback(self._answered.put)
        self._paused = claim.paused
        self._claimed += len(claim)

    def _wait_for_answers(self, over: bool) -> list[Future[Answer]]:
        """Wait for an answer; return all that are there. None when it is time to claim."""
        wait = min(self._until_claim(over), threading.TIMEOUT_MAX)
        if self._put_off:
            wait = min(wait, GATHER_SECONDS)
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

    def _record(self, done: Sequence[Future[Answer]], *, wait: bool = False) -> None:
        """Record answers. They are kept until that is done; nothing is claimed meanwhile.

        Those about busy wallets are put off, unless it may `wait`, and soon left to a thread.
        """
        results = [(self._flying[future], calls.answer_of(future)) for future in done]
        if not self._put_off:
            self._put_off_since = clock.elapsed()
        try:
            busy = record_until([*self._put_off, *results], wait=wait)
        except Exception:
            self._forget(done)  # given up, and told
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
        """Whatever ended the sweep: hear out the calls under way, and record them."""
        done: list[Future[Answer]] = []
        if self._flying:
            ends = max(sending.lease_ends for sending in self._flying.values())
            over = wait(self._flying, max(0.0, ends - clock.elapsed())).done
            done = [future for future in self._flying if future in over]
        self._record(done, wait=True)

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
        # What is due and was not claimed is being claimed by somebody else.
        return min(max(0.01, wait), settings.WITHDRAWAL_POLL, again)
