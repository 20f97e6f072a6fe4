"""What a sweep claims, and when it looks for more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db.models import QuerySet

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts import busy_wallets, payout, waiting
from wallets.services.payouts.payout import Claim
from wallets.utils import clock
from wallets.utils.bank.interface import Abilities
from wallets.utils.damaged import DAMAGED, each_alone
from wallets.utils.database import readable
from wallets.utils.database.transactions import (
    database_now,
    lock_rows,
    run_in_transaction,
)
from wallets.utils.messaging import stopping

FindDue = Callable[[datetime], QuerySet[Transaction]]


def find_due(now: datetime) -> QuerySet[Transaction]:
    """Return the pending withdrawals that are due and wait for no operator."""
    return waiting.without_held(Transaction.get_due_pending_withdrawals(now))


def find_retryable(now: datetime) -> QuerySet[Transaction]:
    """Return the failed withdrawals whose next attempt is due. As `find_due`.

    Each of them has a time. Without the condition MariaDB may read all rows that have
    none: its index is of the whole table.
    """
    retries = Transaction.get_failed_retryable_withdrawals(now=now)
    return waiting.without_held(retries.filter(next_attempt_at__isnull=False))


class Claiming:
    """The claims of one sweep: without damaged rows, locked wallets and frozen ones.

    `send` is called with each claim, also in threads that wait for a locked wallet.
    `now` is the clock that decides what is due; by default the database's. `share` is
    the most that one thread claims for a locked wallet.
    """

    def __init__(
        self,
        find: FindDue,
        send: Callable[[Claim], None],
        bank: Abilities,
        *,
        ends: float,
        share: int,
        now: Callable[[], datetime] | None = None,
        damaged: Iterable[int] = (),
    ) -> None:
        self._find = find
        self._send = send
        self._bank = bank
        self._ends = ends  # of the sweep, by `clock.elapsed`
        self._share = share
        self._now = now or database_now
        self._given_now = now
        self.looked = False  # whether a claim was possible, even if nothing was due
        self.looks_at = clock.elapsed()  # when to look for what is due
        self.damaged = list(damaged)  # withdrawals that cannot be claimed
        self.busy = busy_wallets.BusyWallets()

    def waited_for(self) -> int:
        """Return how many withdrawals threads may claim at any moment."""
        return self._share * len(self.busy.waited_for())

    def claim(self, limit: int) -> None:
        """Claim what is due, and plan the next claim."""
        self.busy.ask_again(_free, self._claim_busy)
        now = self._now()
        claimed = self._claim_sound(self._left(self._find(now)), now, limit)
        if claimed.paused:
            # The next sweep checks again. What is claimed already is recorded.
            self.looks_at = float("inf")
            return
        # They have taken the places of others, which the next claim finds at once.
        more = self.busy.found(claimed.busy)
        if claimed.waiting:
            self.busy.leave(busy_wallets.FROZEN, self._mark_frozen)
        self.looked = True
        if claimed.busy and not more:
            self.looks_at = clock.elapsed() + busy_wallets.AGAIN_SECONDS
        elif len(claimed) < limit and not more:
            self.looks_at = clock.elapsed() + self._until_due()

    def leaves_work(self) -> bool:
        """Whether something is due that this sweep could claim if it went on.

        For pending withdrawals: due within the tick's interval. Those that cannot be
        claimed do not count.
        """
        now = self._now()
        if self._find is find_due:
            now += timedelta(seconds=settings.WITHDRAWAL_DUE_INTERVAL)
        return self._claimable(self._find(now)).exists()

    def _claim_busy(self, wallet_id: int) -> None:
        """Wait for the wallet, and claim some of its due rows. Runs in a thread.

        After one lock time-out the sweep polls it again: the end of a sweep waits for
        this thread.
        """
        now = self._now()
        due = self._find(now).filter(wallet=wallet_id)
        self._claim_sound(due, now, self._share, wait=True)

    def _mark_frozen(self) -> None:
        """Mark what is due in frozen wallets as waiting. Runs in a thread.

        However many there are, the sweep claims the others meanwhile.
        """
        while clock.elapsed() < self._ends and not stopping.wait(0):
            due = self._claimable(self._find(self._now()))
            if waiting.begin_for_frozen(due) < waiting.BATCH:
                return

    def _claim_sound(
        self,
        due: QuerySet[Transaction],
        now: datetime,
        limit: int,
        *,
        wait: bool = False,
    ) -> Claim:
        """Claim what is due, without damaged rows; start the calls.

        Returns all that was claimed. `busy` are the locked wallets that were skipped;
        none with `wait=True`.
        """
        due = self._claimable(due)
        # Attempts begin when their locks are taken, not when the due rows were read.
        begins = now if self._given_now else None
        total = Claim()

        def claim(some: QuerySet[Transaction], limit: int) -> None:
            claimed = payout.claim(
                some,
                bank=self._bank,
                limit=limit,
                now=begins,
                wait=wait,
                patience=0,
            )
            self._send(claimed)
            total.add(claimed)

        try:
            claim(due, limit)
        except DAMAGED:
            some = list(due.values_list("pk", flat=True)[:limit])
            self.damaged += each_alone(
                lambda pks: claim(due.filter(pk__in=pks), 1), some
            )
        return total

    def _claimable(self, due: QuerySet[Transaction]) -> QuerySet[Transaction]:
        """Leave out what this sweep has found to be damaged."""
        return due.exclude(pk__in=self.damaged) if self.damaged else due

    def _left(self, rows: QuerySet[Transaction]) -> QuerySet[Transaction]:
        """Leave out what no claim takes, and what is of locked wallets."""
        rows = self._claimable(rows.exclude(wallet__in=self.busy.left_out()))
        if self.busy.is_doing(busy_wallets.FROZEN):
            rows = waiting.without_frozen(rows)
        return rows

    def _next_due(self) -> datetime | None:
        """Return when something is due that this sweep can claim; None if never.

        A retry only if it is due already: a later one is left to its own, slower tick.
        """
        if self._find is not find_due:
            now = self._now()
            return now if self._left(self._find(now)).exists() else None
        pending = Transaction.objects.filter(Transaction.is_pending())
        pending = self._left(waiting.without_held(pending))
        # In the order of an index: for MIN, MariaDB would read all that is pending.
        return readable.first(pending.order_by("scheduled_for", "id"), "scheduled_for")

    def _until_due(self) -> float:
        """Seconds until the next claim is useful."""
        busy = self.busy.left_out()
        again = busy_wallets.AGAIN_SECONDS if busy else float("inf")
        due = self._next_due()
        if due is None:
            return again
        wait = (due - self._now()).total_seconds()
        if clock.elapsed() + wait > self._ends:
            return again
        # If something is due and was not claimed, another drain is claiming it.
        return min(max(0.01, wait), settings.WITHDRAWAL_POLL, again)


def _free(wallets: set[int]) -> set[int]:
    """Return which of the wallets no other transaction locks. Opens its own transaction."""
    rows = Wallet.objects.filter(pk__in=sorted(wallets)).order_by("pk")
    ids = rows.values_list("pk", flat=True)
    return set(run_in_transaction(partial(lock_rows, ids, skip_locked=True)))
