"""Concurrent calls to the bank, for any kind of bank."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from django.conf import settings

from wallets.utils.bank.interface import Answer, Bank, Outcome

logger = logging.getLogger(__name__)


@functools.cache
def _callers(_pid: int, size: int) -> ThreadPoolExecutor:
    """Return this process's threads for calls; threads do not survive a fork."""
    return ThreadPoolExecutor(size, thread_name_prefix="bank")


def pay_later(bank: Bank) -> Callable[..., Future[Answer]]:
    """Return a function with the arguments of `bank.pay` that returns a future.

    A bank with a `pay_later` of its own needs no threads.
    """
    pool = _callers(os.getpid(), settings.WITHDRAWAL_CONCURRENCY)
    own: Callable[..., Future[Answer]] | None = getattr(bank, "pay_later", None)
    return own or (lambda payment, **options: pool.submit(bank.pay, payment, **options))


def answer_of(call: Future[Answer]) -> Answer:
    """Return the answer of a call. A bug in the client leaves the outcome unknown."""
    try:
        return call.result()
    except Exception as error:
        logger.exception("a call to the bank ended without an answer")
        return Answer(Outcome.UNKNOWN, type(error).__name__)
