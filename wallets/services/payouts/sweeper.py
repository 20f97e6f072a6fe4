"""All sweeps in one process, at their intervals, without a broker.

It does the work of Beat and the workers in turn. Several sweepers may run, also beside
workers: each withdrawal is claimed once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from django.conf import settings
from django.db import (
    DatabaseError,
    InterfaceError,
    close_old_connections,
    connections,
)

from wallets.services.operations import reconciliation_daily
from wallets.services.payouts import kept, sweeps
from wallets.utils import clock
from wallets.utils.bank.interface import Bank
from wallets.utils.messaging import stopping

logger = logging.getLogger(__name__)


def run_once(*, bank: Bank | None = None) -> dict[str, int]:
    """Run each sweep once, as one tick of Beat; return the counts by name.

    Opens its own transactions. Stays for what becomes due within a tick's interval.
    """
    counts = {
        "resolve": sweeps.resolve_unknown(bank=bank),
        "retry": sweeps.pay_retries(bank=bank),
        "pending": sweeps.pay_pending(bank=bank),
    }
    kept.finish()
    return counts


def run(*, seconds: float = float("inf"), bank: Bank | None = None) -> None:
    """Sweep for `seconds`, or until the process is being stopped.

    Opens its own transactions. A database that is away ends one sweep, not the sweeper.
    """
    ends = clock.elapsed() + seconds
    turns: dict[Callable[..., int], float] = {
        sweeps.resolve_unknown: settings.WITHDRAWAL_RESOLVE_INTERVAL,
        sweeps.pay_retries: settings.WITHDRAWAL_RETRY_INTERVAL,
    }
    next_turn = dict.fromkeys(turns, clock.elapsed())
    beside = _BesidePayments()
    while not stopping.wait(0) and clock.elapsed() < ends:
        beside.run_when_due()
        for sweep, interval in turns.items():
            if clock.elapsed() >= next_turn[sweep]:
                next_turn[sweep] = clock.elapsed() + interval
                _survive(partial(sweep, bank=bank))
        until = min(ends, *next_turn.values())
        _pay_pending(until, bank)
    kept.finish()


def _pay_pending(until: float, bank: Bank | None) -> None:
    """Pay what is due until then, and look again for new due withdrawals."""
    interval = settings.WITHDRAWAL_DUE_INTERVAL
    while True:
        seconds = min(until - clock.elapsed(), interval)
        # At least one run, even if the other sweeps leave no time.
        seconds = max(seconds, settings.WITHDRAWAL_POLL)
        _survive(partial(sweeps.pay_pending, bank=bank, seconds=seconds))
        left = until - clock.elapsed()
        if left <= 0 or stopping.wait(min(left, settings.WITHDRAWAL_POLL)):
            return


class _BesidePayments:
    """The comparison with the bank's list, in a thread.

    It may take a minute, and payments must not wait for it. It changes no money and
    ends with the process.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._next = clock.elapsed()

    def run_when_due(self) -> None:
        """Start the comparison, unless it runs already or has run lately."""
        under_way = self._thread is not None and self._thread.is_alive()
        if under_way or clock.elapsed() < self._next:
            return
        self._next = clock.elapsed() + settings.STATEMENT_CHECK_INTERVAL
        if settings.THIRD_PARTY_STATEMENT:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        try:
            _survive(reconciliation_daily.reconcile_when_due)
        finally:
            connections.close_all()  # this thread's


def _survive(sweep: Callable[[], int]) -> None:
    close_old_connections()
    try:
        sweep()
    except (DatabaseError, InterfaceError) as error:
        logger.error("sweep ended by the database: %s", " ".join(str(error).split()))
        close_old_connections()
