"""Withdrawals are planned: many in one transaction, each with an answer of its own.

A withdrawal that is asked for alone and those that come at the same moment are written
here. A refused one never keeps the others from being planned.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from wallets.services.group import KEY_WAIT_SECONDS, in_halves
from wallets.services.schedule_batch import (
    Answer,
    Asked,
    ScheduleRequest,
    schedule_in_steps,
)
from wallets.utils.db import (
    CLIENT_PATIENCE_SECONDS,
    limit_lock_wait,
    run_in_transaction,
    run_unless_locked,
)

__all__ = ["Answer", "ScheduleRequest", "schedule_many"]


def schedule_many(
    requests: Sequence[ScheduleRequest],
    *,
    actor: str = "client",
    now: datetime | None = None,
    wait: bool = True,
) -> list[Answer]:
    """Plan the withdrawals that can be planned; answer each, in order.

    The answer is the transaction, which has its `wallet` and says whether it was
    `replayed`; or the refusal that `WithdrawalService.schedule` would raise.

    Opens its own transaction; locks what new rows of the wallets must, then takes the keys
    in the order of their index. Unless it may `wait`, requests that another transaction
    stands in the way of, and those with damaged rows, are answered with `Busy`, and the
    others are planned: see `in_halves`.
    """
    asked = [Asked(request, request.key or uuid.uuid4()) for request in requests]
    if not wait:
        return in_halves(partial(_unless_locked, actor=actor, now=now), asked)
    return run_in_transaction(
        lambda: schedule_in_steps(asked, actor=actor, now=now),
        patience=CLIENT_PATIENCE_SECONDS,
    )


def _unless_locked(
    asked: Mapping[int, Asked], *, actor: str, now: datetime | None
) -> Mapping[int, Answer] | None:
    """Plan them, and wait for nobody. None, and nothing done: a key is just being used."""

    def work() -> list[Answer]:
        limit_lock_wait(KEY_WAIT_SECONDS)
        return schedule_in_steps([*asked.values()], actor=actor, now=now, wait=False)

    answers = run_unless_locked(work)
    return None if answers is None else dict(zip(asked, answers, strict=True))
