"""The ledger's deposits on PostgreSQL: one statement, which is its own transaction.

It does what `services.deposits.deposit` does step by step elsewhere, for requests that nothing
stands in the way of; what it leaves out is judged there. With `services.ledger.postings` the only
writer of movements and balances.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from wallets.models.base import MAX_MONEY
from wallets.utils.database.prepared import array, execute_prepared, patience

# Wallets are locked first, in the order of their ids, and read as they are then: also the
# UPDATE, which waits for nobody any more, takes the latest version of a row. The clock is
# the database's, read once, when all wallets are locked. Then the keys are taken, in their
# order: two statements with the same keys never wait for each other in a circle. A wallet's
# deposits are numbered as they were asked for. A key that has made something makes
# nothing, nor does a wallet that would overflow. Were a wallet not credited, the LEFT JOIN
# would give its movement no wallet, and all of it would fail.
_DEPOSIT = """
WITH asked AS (
    SELECT item.* FROM {patience}
        unnest(%(wallets)s::uuid[], %(amounts)s::bigint[], %(keys)s::uuid[])
        WITH ORDINALITY AS item (wallet, amount, key, place)
), locked AS (
    SELECT id, uuid, balance + held AS total FROM wallets_wallet
    WHERE uuid = ANY (ARRAY(SELECT wallet FROM asked))
    ORDER BY id FOR NO KEY UPDATE {skip_locked}
), clock AS (
    SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now
    FROM (SELECT count(*) FROM locked) AS all_are_locked
), planned AS (
    SELECT asked.*, locked.id AS wallet_id,
        total + sum(amount) OVER (PARTITION BY locked.id) AS total
    FROM asked JOIN locked ON locked.uuid = asked.wallet
), made AS (
    INSERT INTO wallets_transaction (wallet_id, transaction_type, amount, status,
        idempotency_key, executed_at, created_at, updated_at, retry_count, final,
        needs_review, failure_code, third_party_response, version)
    SELECT wallet_id, 'DEPOSIT', amount, 'COMPLETED', key, now, now, now,
        0, false, false, '', '', 0
    FROM planned, clock WHERE total <= {max_money} ORDER BY key
    ON CONFLICT (idempotency_key) DO NOTHING
    RETURNING id, wallet_id, amount, idempotency_key
), credited AS (
    UPDATE wallets_wallet AS wallet
    SET balance = wallet.balance + added.amount,
        movement_count = wallet.movement_count + added.count,
        updated_at = CASE WHEN wallet.movement_count = 0 THEN now
            ELSE greatest(wallet.updated_at, now) END
    FROM clock, (SELECT wallet_id, sum(amount)::bigint AS amount, count(*) AS count
                 FROM made GROUP BY wallet_id) AS added
    WHERE wallet.id = added.wallet_id
    RETURNING wallet.id, wallet.held, wallet.updated_at,
        wallet.balance - added.amount AS balance_before,
        wallet.movement_count - added.count AS count_before
), posted AS (
    SELECT made.id, credited.id AS wallet_id, asked.key, made.amount, held,
        count_before + row_number() OVER earlier AS sequence,
        (balance_before + sum(made.amount) OVER earlier)::bigint AS balance_after,
        credited.updated_at AS created_at
    FROM made JOIN asked ON asked.key = made.idempotency_key
        LEFT JOIN credited ON credited.id = made.wallet_id
    WINDOW earlier AS (PARTITION BY credited.id ORDER BY asked.place)
), moved AS (
    INSERT INTO wallets_movement (wallet_id, transaction_id, attempt_number, kind, leg,
        from_account, to_account, amount, sequence, balance_after, created_at)
    SELECT wallet_id, id, 0, 'deposit', 'open', 'outside', 'wallet', amount,
        sequence, balance_after, created_at
    FROM posted
)
SELECT key::text, now, id, wallet_id, balance_after, held FROM posted, clock
"""

_OPEN = """
INSERT INTO wallets_wallet (uuid, balance, held, movement_count, created_at, updated_at)
SELECT uuid, 0, 0, 0, now, now FROM unnest(%(uuids)s::uuid[]) AS uuid,
    (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now) AS clock
RETURNING uuid, id, created_at
"""


class Deposited(NamedTuple):
    """A deposit that was made, and its wallet's balance once it had happened."""

    transaction_id: int
    wallet_id: int
    balance_after: int
    held: int


def open_wallets(
    uuids: Iterable[UUID], *, now: datetime | None = None
) -> list[tuple[UUID, int, datetime]]:
    """Open empty wallets; return UUID, id and time of each, in no order. One statement."""
    return execute_prepared(_OPEN, {"uuids": array(uuids), "now": now})


def deposit(
    requests: Sequence[tuple[str, int, str]],
    *,
    now: datetime | None = None,
    skip_locked: bool = False,
    lock_wait: float | None = None,
) -> dict[str, tuple[datetime, Deposited]]:
    """Make the deposits (wallet, amount, key) that can be made; return them by key.

    Each with its time: `now`, or the database's clock. One statement. Locks the wallets by
    id, takes the keys in their order; for those that somebody else holds, and for a
    key that somebody else is just using, it waits `lock_wait` seconds (None: as long as
    every statement) and is a lock time-out then. With `skip_locked` such wallets are left
    out. Left out are, too, unknown wallets, keys that are not new, and all of a wallet
    that has not room for all. Keys must differ, amounts be within limits; wallets and keys
    are UUIDs as canonical text.
    """
    sql = _DEPOSIT.format(
        skip_locked="SKIP LOCKED" if skip_locked else "",
        patience=patience(lock_wait),
        max_money=MAX_MONEY,
    )
    wallets, amounts, keys = map(array, zip(*requests, strict=True))
    columns = {"wallets": wallets, "amounts": amounts, "keys": keys}
    rows = execute_prepared(sql, {**columns, "now": now})
    return {key: (at, Deposited(*made)) for key, at, *made in rows}
