"""The fast path of schedules on PostgreSQL: one statement, in its own transaction.

It does the same as `services.withdrawals.schedule_batch`, for requests without a conflict. The
requests that it leaves out are handled there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from wallets.services.ledger.ledger_postgresql import (
    WORDS_ARRAYS,
    WORDS_COLUMNS,
    columns_of_caller,
    columns_of_words,
)
from wallets.utils.caller import Caller
from wallets.utils.database.prepared import array, execute_prepared, patience
from wallets.utils.words import Words

# Whether it fails if its wallet is frozen, and its words.
More = tuple[bool, Words]

# The database's clock is read once. Keys are inserted in their order, so two statements
# with the same keys cannot deadlock. A key that exists already inserts nothing, whichever
# of the two unique constraints of keys forbids it: a statement of another caller of the
# same wallet, which this one cannot see yet, is waited for. Wallets
# get the lock that the new rows' foreign key would take at COMMIT: deposits and claims do
# not wait for it, only a wallet that is being closed does. One that is locked so is left
# out, as frozen and closed ones are, and those of a currency that the bank does not pay.
# So is a key that a caller of another tenant has used in the same wallet for anything
# else.
_SCHEDULE = """
WITH asked AS (
    SELECT item.* FROM {patience}
        unnest(%(wallets)s::uuid[], %(amounts)s::bigint[], %(times)s::timestamptz[],
            %(keys)s::uuid[]{arrays}) AS item (wallet, amount, scheduled_for, key{words})
    WHERE NOT EXISTS (SELECT FROM wallets_attempt
                      WHERE reference = ANY (%(bank_references)s::uuid[]))
), clock AS (
    SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now
), wallet AS MATERIALIZED (
    SELECT id, uuid, tenant FROM wallets_wallet
    WHERE uuid = ANY (ARRAY(SELECT wallet FROM asked)) AND NOT frozen_out AND NOT closed
        AND %(payable)s::text IN ('*', currency)
    FOR KEY SHARE SKIP LOCKED
), planned AS (
    SELECT asked.*, wallet.id AS wallet_id, tenant <> '' AS from_tenants_wallet
    FROM clock, asked JOIN wallet ON wallet.uuid = asked.wallet
    WHERE scheduled_for > now
        AND scheduled_for <= now + make_interval(secs => %(horizon)s)
        AND (tenant = '' OR NOT EXISTS (
            SELECT FROM wallets_transaction AS other
            WHERE idempotency_key = key AND other.wallet_id = wallet.id))
), made AS (
    INSERT INTO wallets_transaction (wallet_id, transaction_type, amount, status,
        idempotency_key, scheduled_for, created_at, updated_at, retry_count, final,
        needs_review, failure_code, third_party_response, version,
        from_tenants_wallet{words}{caller})
    SELECT wallet_id, 'WITHDRAWAL', amount, 'PENDING', key, scheduled_for, now, now,
        0, false, false, '', '', 0, from_tenants_wallet{words}{caller_values}
    FROM planned, clock ORDER BY key
    ON CONFLICT DO NOTHING
    RETURNING id, idempotency_key AS key, wallet_id, from_tenants_wallet
), moved AS (
    INSERT INTO wallets_transition (transaction_id, sequence, event, from_state,
        to_state, actor, evidence, created_at)
    SELECT id, 0, 'schedule', '', 'pending', %(actor)s, '', now FROM made, clock
)
SELECT key::text, now, id, wallet_id, from_tenants_wallet FROM made, clock
"""


def schedule(
    requests: Sequence[tuple[UUID, int, datetime, str]],
    *,
    references: Iterable[str],
    more: Sequence[More] | None = None,
    caller: Caller,
    now: datetime | None = None,
    lock_wait: float | None = None,
) -> list[tuple[str, datetime, int, int, bool]]:
    """Schedule the withdrawals (wallet, amount, time, key); return those done.

    Of each its key, its time, the ids of transaction and wallet, and whether the wallet
    has a tenant; in any order. One statement. If another transaction uses a key at this moment, the statement waits
    `lock_wait` seconds (None: the usual limit) and then fails with a lock time-out.
    Left out are unknown, frozen and closed wallets, those of a currency that the bank
    does not pay, keys that exist, and times that are not after `now`
    (default: the database's clock) or beyond the horizon. If an attempt has one of the
    `references`, all are left out. Keys must differ and be canonical text; amounts must
    be within limits (minor units); times must have an offset. `more`: what else each
    request says; None: nobody says more, which is faster.
    """
    wallets, amounts, times, keys = zip(*requests, strict=True)
    values: dict[str, Any] = {
        "wallets": array(wallets),
        "amounts": array(amounts),
        "times": array(time.isoformat() for time in times),
        "keys": array(keys),
        "bank_references": array(references),
        "payable": settings.THIRD_PARTY_CURRENCY,
        "horizon": timedelta(days=settings.WITHDRAWAL_MAX_HORIZON_DAYS).total_seconds(),
        "actor": caller.actor,
        "now": now,
    }
    parts, named = columns_of_caller(caller)
    values |= named
    if more:
        fails, words = zip(*more, strict=True)
        values |= {"fails": list(fails), **columns_of_words(words)}
    sql = _SCHEDULE.format(
        **parts,
        patience=patience(lock_wait),
        arrays=f", %(fails)s::boolean[]{WORDS_ARRAYS}" if more else "",
        words=f", fails_if_frozen{WORDS_COLUMNS}" if more else "",
    )
    return execute_prepared(sql, values)
