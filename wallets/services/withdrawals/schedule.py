"""Schedules of withdrawals: many in one transaction, with one result each.

Single requests and batches of concurrent requests are all written here. A refused
request does not stop the others.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from django.db import connection

from wallets.models.transaction import Transaction
from wallets.services.payouts import transition
from wallets.services.requests.checks import is_amount, is_instant
from wallets.services.requests.group import KEY_WAIT_SECONDS, in_halves
from wallets.services.withdrawals import reference, schedule_postgresql
from wallets.services.withdrawals.schedule_batch import (
    Asked,
    ScheduleReceipt,
    ScheduleRequest,
    ScheduleResult,
    columns_of,
    hand_over,
    schedule_in_steps,
)
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.batch import as_stored
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    limit_lock_wait,
    run_in_transaction,
    run_unless_locked,
)
from wallets.utils.words import NO_WORDS

__all__ = ["ScheduleReceipt", "ScheduleRequest", "ScheduleResult", "schedule_many"]

NO_MORE = (False, NO_WORDS)
Numbered = dict[int, Asked]
Results = dict[int, ScheduleResult]


def schedule_many(
    requests: Sequence[ScheduleRequest],
    *,
    caller: Caller = ANYBODY,
    now: datetime | None = None,
    wait: bool = True,
) -> list[ScheduleResult]:
    """Schedule a caller's withdrawals; return one result for each request, in order.

    The keys belong to the caller's tenant. A result is the receipt, or the refusal that `WithdrawalService.schedule` would
    raise. Opens its own transactions; locks what new rows of the wallets must, then takes the
    keys in the order of their index. With `wait=False` a request that conflicts with
    another transaction, or meets damaged rows, gets `Busy`, and the others are done:
    see `in_halves`.
    """
    asked = [
        Asked(*one[:3], one.key or uuid.uuid4(), one.key is not None, *one[4:])
        for one in requests
    ]
    if not wait:
        return in_halves(partial(_unless_locked, caller=caller, now=now), asked)
    numbered = dict(enumerate(asked))
    answers: Results = {}
    if connection.vendor == "postgresql":
        at_once = partial(_schedule_at_once, numbered, caller=caller, now=now)
        answers |= _run(at_once, one_statement=True)
    if left := _without(numbered, answers):
        answers |= _run(partial(_schedule_in_steps, left, caller=caller, now=now))
    return [answers[n] for n in numbered]


def _run(work: Callable[[], Results], *, one_statement: bool = False) -> Results:
    return run_in_transaction(
        work, patience=CLIENT_PATIENCE_SECONDS, one_statement=one_statement
    )


def _without(asked: Numbered, answers: Results) -> Numbered:
    """Return the requests that have no result yet."""
    return {n: one for n, one in asked.items() if n not in answers}


def _unless_locked(
    asked: Numbered, *, caller: Caller, now: datetime | None
) -> Results | None:
    """Schedule without waiting for locks. None, and no change: a key is in use."""
    answers: Results = {}
    if connection.vendor == "postgresql":
        at_once = partial(
            _schedule_at_once, asked, caller=caller, now=now, lock_wait=KEY_WAIT_SECONDS
        )
        made = run_unless_locked(at_once, one_statement=True)
        if made is None:
            return None
        answers |= made
    # A conflict of one of these must not repeat the others, which are done.
    left = _without(asked, answers)
    judge = partial(_judge_unless_locked, caller=caller, now=now)
    return answers | dict(zip(left, in_halves(judge, [*left.values()]), strict=True))


def _judge_unless_locked(
    asked: Numbered, *, caller: Caller, now: datetime | None
) -> Results | None:
    def work() -> Results:
        limit_lock_wait(KEY_WAIT_SECONDS)
        return _schedule_in_steps(asked, caller=caller, now=now, wait=False)

    return run_unless_locked(work)


def _schedule_in_steps(
    asked: Numbered, *, caller: Caller, now: datetime | None, wait: bool = True
) -> Results:
    answers = schedule_in_steps([*asked.values()], caller=caller, now=now, wait=wait)
    return dict(zip(asked, answers, strict=True))


def _schedule_at_once(
    asked: Numbered,
    *,
    caller: Caller,
    now: datetime | None,
    lock_wait: float | None = None,
) -> Results:
    """Schedule all withdrawals without a conflict; return results by number.

    One statement for PostgreSQL. Call in a transaction of its own.
    """
    # Among requests with the same key, the first one counts; the others are replays.
    first = {str(one.key): n for n, one in reversed([*asked.items()])}
    fit = {
        key: asked[n]
        for key, n in first.items()
        if is_amount(asked[n].amount) and is_instant(asked[n].scheduled_for)
    }
    if not fit:
        return {}
    more = [one.more for one in fit.values()]
    rows = schedule_postgresql.schedule(
        [(*one[:3], key) for key, one in fit.items()],
        more=more if any(one != NO_MORE for one in more) else None,
        references=[
            each
            for one in fit.values()
            if one.may_be_recorded
            for each in reference.texts_of_key(one.key, one.wallet_uuid)
        ],
        caller=caller,
        now=now,
        lock_wait=lock_wait,
    )
    made = {
        first[key]: as_stored(
            Transaction,
            id=pk,
            wallet_id=wallet_id,
            **columns_of(fit[key], at, caller, from_tenants_wallet=of_tenant),
        )
        for key, at, pk, wallet_id, of_tenant in rows
    }
    if made:
        at = rows[0][1]
        transition.log_scheduled([*made.values()], actor=caller.actor, now=at)
        hand_over([*made.values()], now=at)
    return {n: ScheduleReceipt(row) for n, row in made.items()}
