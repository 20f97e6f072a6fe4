"""Waits before retries and look-ups: exponential, with a cap, with jitter."""

from __future__ import annotations

import random
from datetime import timedelta

from django.conf import settings


def retry_delay(retries_made: int) -> timedelta:
    """Return the wait before the next attempt, after this number of retries."""
    return _delay(
        settings.WITHDRAWAL_RETRY_BASE, settings.WITHDRAWAL_RETRY_CAP, retries_made
    )


def check_delay(checks_made: int) -> timedelta:
    """Return the wait before the next look-up, after this number of look-ups."""
    return _delay(
        settings.WITHDRAWAL_CHECK_BASE, settings.WITHDRAWAL_CHECK_CAP, checks_made
    )


def _delay(base: float, cap: float, count: int) -> timedelta:
    # The exponent is bounded: a float overflows at 2**1024.
    seconds = min(cap, base * 2 ** min(count, 32))
    jitter = settings.WITHDRAWAL_RETRY_JITTER
    spread = random.uniform(1 - jitter, 1 + jitter)  # noqa: S311 (no secret)
    return timedelta(seconds=seconds * spread)
