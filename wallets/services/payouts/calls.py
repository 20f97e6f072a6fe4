"""Concurrent calls to the bank, for any kind of bank."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from wallets.services.operations import pause
from wallets.services.payouts.payout import Sending
from wallets.utils import clock
from wallets.utils.bank.interface import Answer, Bank, Outcome
from wallets.utils.database.transactions import run_in_transaction

logger = logging.getLogger(__name__)

# How often a sweep looks for a pause while its calls are in flight.
PAUSE_SECONDS = 1.0


@functools.cache
def _callers(_pid: int, size: int) -> ThreadPoolExecutor:
    """Return this process's threads for calls; threads do not survive a fork."""
    return ThreadPoolExecutor(size, thread_name_prefix="bank")


def pay_later(bank: Bank) -> Callable[..., Future[Answer]]:
    """Return a function with the arguments of `bank.pay` that returns a future.

    A bank with a `pay_later` of its own needs no threads. The future can be cancelled
    as long as certainly nothing has been sent.
    """
    pool = _callers(os.getpid(), settings.WITHDRAWAL_CONCURRENCY)
    own: Callable[..., Future[Answer]] | None = getattr(bank, "pay_later", None)
    return own or (lambda payment, **options: pool.submit(bank.pay, payment, **options))


def answer_of(call: Future[Answer]) -> Answer:
    """Return the answer of a call. A bug in the client leaves the outcome unknown."""
    if call.cancelled():
        return Answer(Outcome.NOT_SENT, pause.WITHDRAWN)
    try:
        return call.result()
    except Exception as error:
        logger.exception("a call to the bank ended without an answer")
        return Answer(Outcome.UNKNOWN, type(error).__name__)


class PauseWatch:
    """Takes back the calls of a sweep that wait for their turn when payouts are paused.

    A call that may have been sent goes on. So does one whose withdrawal has no retry
    left: it would have failed for good.
    """

    def __init__(self) -> None:
        self._next = clock.elapsed() + PAUSE_SECONDS

    def look(self, flying: Mapping[Future[Answer], Sending]) -> None:
        """Look for a pause, at most once in PAUSE_SECONDS. Call outside a transaction.

        Does not raise if the database is away: the sweep waits for answers.
        """
        if clock.elapsed() < self._next:
            return
        self._next = clock.elapsed() + PAUSE_SECONDS
        with suppress(DatabaseError, InterfaceError):
            if run_in_transaction(pause.is_paused, one_statement=True):
                for call, sent in list(flying.items()):
                    if sent.attempt.number <= settings.WITHDRAWAL_MAX_RETRIES:
                        call.cancel()
