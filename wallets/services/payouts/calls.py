"""Calls to the bank that are waited for elsewhere, whatever kind of bank it is."""

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
    """This process's threads for calls to the bank; threads do not survive a fork."""
    return ThreadPoolExecutor(size, thread_name_prefix="bank")


def pay_later(bank: Bank) -> Callable[..., Future[Answer]]:
    """What is called as `bank.pay` is, and answers later.

    A bank that can have many calls under way by itself needs no threads.
    """
    pool = _callers(os.getpid(), settings.WITHDRAWAL_CONCURRENCY)
    own: Callable[..., Future[Answer]] | None = getattr(bank, "pay_later", None)
    return own or (lambda payment, **options: pool.submit(bank.pay, payment, **options))


def answer_of(call: Future[Answer]) -> Answer:
    """What a call came to. A bug in the client says nothing about the payment."""
    try:
        return call.result()
    except Exception as error:
        logger.exception("a call to the bank ended without an answer")
        return Answer(Outcome.UNKNOWN, type(error).__name__)
