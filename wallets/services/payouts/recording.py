"""Records the bank's answers, also while the database is away, until the leases end.

An answer exists only in this process. If it is lost, the outcome must be looked up; at
a bare bank it needs a review.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from datetime import datetime

from wallets.services.payouts import damage, payout
from wallets.services.payouts.payout import Result, Sending
from wallets.utils.bank.interface import Answer
from wallets.utils.database import outage
from wallets.utils.database.errors import is_lock_timeout
from wallets.utils.messaging import soft_limit

logger = logging.getLogger(__name__)

Results = Sequence[Result]
PutAside = Callable[[Result, Exception], object]


def record_until(
    results: Results,
    *,
    now: datetime | None = None,
    put_aside: PutAside | None = None,
    wait: bool = True,
    patience: float = math.inf,
) -> list[Result]:
    """Record what the bank's answers prove; repeat it while the database is away.

    Opens its own transactions, until the last of the attempts' leases ends; see
    `outage.outlast`. Damaged rows do not stop the others: they are `put_aside`
    (default: an alarm with the bank's answer). An answer that cannot be recorded is
    logged as evidence for an operator. With `wait=False` the answers about locked
    wallets are returned; and after a lock time-out later than `patience` (seconds) the
    answers about what was locked.

    :raises DatabaseError, InterfaceError: the database was away for too long.
    """
    if not results:
        return []
    ends = max(sent.lease_ends for sent, _ in results)
    with soft_limit.deferred():
        try:
            return outage.outlast(
                lambda: _record(results, now, put_aside or _put_aside, wait, patience),
                ends=ends,
            )
        except Exception:
            for sent, answer in results:
                log_unrecorded(sent, answer)
            raise


def record_once(results: Results, *, wait: bool) -> list[Result]:
    """Record what the bank's answers prove; return those about locked rows.

    Opens its own transactions. With `wait` it waits for one lock time-out.

    :raises DatabaseError, InterfaceError: the database is away.
    """
    return _record(results, None, _put_aside, wait, 0) if results else []


def _record(
    results: Results,
    now: datetime | None,
    put_aside: PutAside,
    wait: bool,
    patience: float,
) -> list[Result]:
    """Record all together; if that fails because of rows, record each alone.

    Returns the answers about locked wallets.
    """
    try:
        return payout.record(results, now=now, wait=wait, patience=patience)
    except Exception as error:
        if patience < math.inf and is_lock_timeout(error):
            return list(results)
        if outage.is_away(error):
            raise
        if len(results) > 1:
            alone = [_record([one], now, put_aside, wait, patience) for one in results]
            return [one for busy in alone for one in busy]
        logger.exception("damaged rows: left as they are, verify the ledger")
        log_unrecorded(*results[0])
        put_aside(results[0], error)
        return []


def _put_aside(answered: Result, error: Exception) -> None:
    sent, answer = answered
    damage.report(
        f"attempt {sent.attempt.pk}",
        error,
        withdrawal_id=sent.attempt.transaction_id,
        note=f"the bank said {answer.outcome.name};",
    )


def log_unrecorded(sent: Sending, answer: Answer) -> None:
    """Log an answer that is given up, as evidence for an operator."""
    logger.error(
        "an answer of the bank was not recorded",
        extra={
            "withdrawal_id": sent.attempt.transaction_id,
            "attempt": sent.attempt.number,
            "reference": str(sent.payment.reference),
            "outcome": answer.outcome.value,
        },
    )
