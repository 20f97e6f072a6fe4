"""Sweeps over due withdrawals: claim in batches, call concurrently, record in batches.

The database is the queue: a sweep needs no message, and several may run at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from datetime import datetime
from queue import Empty, SimpleQueue

from django.conf import settings

from wallets.services.operations import pause
from wallets.services.payouts import calls, kept
from wallets.services.payouts.busy_wallets import LOOKING_SECONDS
from wallets.services.payouts.claiming import Claiming, FindDue
from wallets.services.payouts.payout import Claim, Result, Sending
from wallets.services.payouts.recording import record_until
from wallets.utils import clock
from wallets.utils.bank.interface import Abilities, Answer, Bank
from wallets.utils.database.transactions import refuse_inside_transaction
from wallets.utils.messaging import soft_limit, stopping

# While calls are in flight, answers are gathered for this long before they are
# recorded: one transaction costs as much for one answer as for ten.
GATHER_SECONDS = 0.025
# What is due within this time is claimed before answers are recorded.
SOON_SECONDS = 0.01
# How long the end of a sweep waits for kept answers: as long as for a locked wallet.
END_SECONDS = 5.0


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
    `claiming` has what is claimed, and when.
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
        self._on_last_look = on_last_look  # called when nothing more will be claimed
        self._pay = calls.pay_later(bank)
        self._pause = calls.PauseWatch()
        self._ends = clock.elapsed() + seconds
        # Claimed and not recorded; threads that wait for a locked wallet add to it.
        self._flying: dict[Future[Answer], Sending] = {}
        self._put_off: list[Result] = []  # answers about locked wallets
        self._put_off_since = 0.0
        self._has_kept = False  # answers of this sweep, in the process's keeper
        self._claimed = 0
        self._answered: SimpleQueue[Future[Answer]] = SimpleQueue()
        self._limit = _most_claimed(bank.abilities)
        self._batch = min(settings.WITHDRAWAL_BATCH_SIZE, self._limit)
        self.claiming = Claiming(
            find,
            self._send,
            bank.abilities,
            ends=self._ends,
            share=max(1, self._batch // 8),
            now=now,
            damaged=damaged,
        )

    def run(self) -> int:
        """Sweep until nothing more is due in time; return how many were claimed.

        All answers are recorded then, but those about rows that stay locked for longer
        than a lock time-out: the process keeps them.

        :raises InsideTransaction: called inside a transaction.
        """
        refuse_inside_transaction("a drain was run")
        if pause.is_paused():
            return 0
        with soft_limit.deferred():
            try:
                self._sweep()
            finally:
                ends = clock.elapsed() + END_SECONDS
                self.claiming.busy.end()
                self._record_rest()
                if self._has_kept:
                    kept.wait(max(0.0, ends - clock.elapsed()))
        return self._claimed

    def _sweep(self) -> None:
        while True:
            over = clock.elapsed() >= self._ends or stopping.wait(0)
            over = over or soft_limit.struck()
            room = self._room()
            if not over and room and clock.elapsed() >= self.claiming.looks_at:
                self.claiming.claim(room)
            if over or self.claiming.looks_at > self._ends:
                self._on_last_look()
            if self._flying or self._put_off:
                done = self._wait_for_answers(over)
                soon = self._until_claim(over)
                if done and soon < SOON_SECONDS and not stopping.wait(soon):
                    self.claiming.claim(self._room())
                self._record(done)
            elif over or not self._sleep():
                return

    def _room(self) -> int:
        """How many more may be claimed; 0 if fewer than half a batch."""
        room = self._limit - self._unanswered()
        return min(room, self._batch) if room >= max(1, self._batch // 2) else 0

    def _unanswered(self) -> int:
        awaited = self.claiming.waited_for()
        return len(self._flying) - self._answered.qsize() + awaited

    def _send(self, claim: Claim) -> None:
        """Start the calls of a claim at once: no other process knows its attempts."""
        for sending in claim.sendings:
            future = self._pay(sending.payment, send_before=sending.send_before)
            self._flying[future] = sending
            future.add_done_callback(self._answered.put)
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
        if over or not self._room() or self.claiming.looks_at > self._ends:
            return float("inf")
        return max(0.0, self.claiming.looks_at - clock.elapsed())

    def _record(self, done: Sequence[Future[Answer]]) -> None:
        """Record answers. They are kept until they are recorded.

        Nothing is claimed meanwhile. Answers about locked wallets are postponed, and
        after a short time left to a thread of the process.
        """
        results = [(self._flying[future], calls.answer_of(future)) for future in done]
        if not self._put_off:
            self._put_off_since = clock.elapsed()
        try:
            busy = record_until([*self._put_off, *results], wait=False)
        except Exception:
            self._forget(done)  # given up and logged
            self._put_off = []
            raise
        self._forget(done)
        self._put_off = busy
        if clock.elapsed() - self._put_off_since >= LOOKING_SECONDS:
            self._keep()

    def _keep(self) -> None:
        """Leave the postponed answers to the process: this sweep may end."""
        self._has_kept = self._has_kept or bool(self._put_off)
        kept.keep(self._put_off)
        self._put_off = []

    def _forget(self, done: Sequence[Future[Answer]]) -> None:
        for future in done:
            del self._flying[future]

    def _record_rest(self) -> None:
        """Wait for the calls in flight and record them, however the sweep ended.

        Answers about locked wallets are left to a thread of the process.
        """
        done: list[Future[Answer]] = []
        if self._flying:
            ends = max(sending.lease_ends for sending in self._flying.values())
            over = wait(self._flying, max(0.0, ends - clock.elapsed())).done
            done = [future for future in self._flying if future in over]
        self._record(done)
        self._keep()

    def _sleep(self) -> bool:
        """Sleep until the next claim; False if it is after the end of this sweep."""
        if self.claiming.looks_at > self._ends:
            return False
        return not stopping.wait(self.claiming.looks_at - clock.elapsed())
