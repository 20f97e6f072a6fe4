"""Answers about locked rows: the process keeps them until the lock or the lease ends.

No sweep waits for them, because the payouts of others would wait with it. One thread of
the process tries to record them. It waits for one wallet at a time, for one lock
time-out, so that a wallet that stays locked does not delay the answers about others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from django.db import connection, connections

from wallets.services.payouts.payout import Result
from wallets.services.payouts.recording import log_unrecorded, record_once
from wallets.utils import clock
from wallets.utils.database import outage

logger = logging.getLogger(__name__)

# Between two tries, in seconds: the database may be away.
PAUSE_SECONDS = 0.5


class Keeper:
    """The kept answers of one process, and the thread that records them.

    The thread ends when nothing is kept any more, and uses one database connection. An
    interpreter that ends waits for it.
    """

    def __init__(self) -> None:
        self._kept: list[Result] = []
        self._runs = False
        self._changed = threading.Condition()

    def keep(self, results: Sequence[Result]) -> None:
        """Record these answers as soon as their rows are free; returns at once.

        What cannot be recorded until its attempt's lease ends, or within
        WITHDRAWAL_RECORDING_TIME while the process is being stopped, is logged as
        evidence for an operator.
        """
        if not results:
            return
        logger.info("answers kept: rows are locked", extra={"answers": len(results)})
        with self._changed:
            self._kept += results
            if not self._runs:
                threading.Thread(target=self._run, name="kept answers").start()
                self._runs = True

    def wait(self, seconds: float | None = None) -> None:
        """Wait until nothing is kept, at most so many seconds (None: no limit)."""
        with self._changed:
            self._changed.wait_for(lambda: not self._runs, seconds)

    def _run(self) -> None:
        while True:
            while self._go_on():
                time.sleep(PAUSE_SECONDS)
            connections.close_all()  # this thread's
            with self._changed:
                if not self._kept:
                    self._runs = False
                    self._changed.notify_all()
                    return

    def _go_on(self) -> bool:
        """Try to record all that is kept; return whether something is left."""
        with self._changed:
            results, self._kept = self._kept, []
        left = []
        for sent, answer in _try(results):
            if clock.elapsed() < outage.end(sent.lease_ends):
                left.append((sent, answer))
            else:
                log_unrecorded(sent, answer)
        with self._changed:
            self._kept = left + self._kept
            return bool(self._kept)


def _try(results: list[Result]) -> list[Result]:
    """Record what is free, and wait for one wallet; return what is left.

    The wallet that was waited for comes last, so that each has its turn.
    """
    try:
        busy = record_once(results, wait=False)
        if not busy:
            return []
        wallet = _wallet(busy[0])
        first = [one for one in busy if _wallet(one) == wallet]
        others = [one for one in busy if _wallet(one) != wallet]
        return others + record_once(first, wait=True)
    except Exception as error:  # noqa: BLE001 (no answer may be lost)
        # What is recorded already is recognised when it is recorded again.
        logger.warning("kept answers are tried again: %s", type(error).__name__)
        connection.close()
        return results


def _wallet(result: Result) -> int:
    sent, _ = result
    return sent.attempt.transaction.wallet_id


_keeper = Keeper()
keep = _keeper.keep
wait = _keeper.wait


def finish() -> None:
    """Wait until nothing is kept any more. Call when the process is about to end."""
    _keeper.wait()
