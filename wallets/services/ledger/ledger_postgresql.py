"""The fast path of deposits on PostgreSQL: one statement, in its own transaction.

It does the same as `services.deposits.deposit_batch`, for requests without a conflict. The
requests that it leaves out are handled there. With `services.ledger.postings` the only writer of
movements and balances.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from wallets.models.base import MAX_MONEY
from wallets.models.fields import default_currency
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.prepared import array, execute_prepared, patience
from wallets.utils.words import Words

# The wallets are locked first, in the order of their ids, and read as they are then:
# PostgreSQL checks the conditions again on a row that it has waited for.
# The UPDATE, too, uses the latest version of a row. The database's clock is read once,
# after all wallets are locked. Then the keys are inserted in their order, so two
# statements with the same keys cannot deadlock. The deposits of a wallet are numbered
# in the order of the requests. A key that exists inserts nothing, and neither does a
# wallet whose cap would be exceeded. If a wallet were not updated, the LEFT JOIN would
# give its movement no wallet, and the whole statement would fail.
_DEPOSIT = """
WITH asked AS (
    SELECT item.* FROM {patience}
        unnest(%(wallets)s::uuid[], %(amounts)s::bigint[], %(keys)s::uuid[]{arrays})
        WITH ORDINALITY AS item (wallet, amount, key{words}, place)
), locked AS (
    SELECT id, uuid, balance + held AS total FROM wallets_wallet
    WHERE uuid = ANY (ARRAY(SELECT wallet FROM asked)) AND NOT frozen_in AND NOT closed
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
        needs_review, failure_code, third_party_response, version{words}{caller})
    SELECT wallet_id, 'DEPOSIT', amount, 'COMPLETED', key, now, now, now,
        0, false, false, '', '', 0{words}{caller_values}
    FROM planned, clock WHERE total <= {max_money} ORDER BY key
    ON CONFLICT (idempotency_key, tenant) DO NOTHING
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
    RETURNING wallet.id, wallet.updated_at,
        wallet.balance - added.amount AS balance_before,
        wallet.movement_count - added.count AS count_before
), posted AS (
    SELECT made.id, credited.id AS wallet_id, asked.key, made.amount,
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
SELECT key::text, now, id, wallet_id, balance_after FROM posted, clock
"""

_OPEN = """
INSERT INTO wallets_wallet (uuid, balance, held, movement_count, currency, tenant,
    created_by, created_at, updated_at)
SELECT uuid, 0, 0, 0, %(currency)s, %(tenant)s, %(actor)s, now, now
FROM unnest(%(uuids)s::uuid[]) AS uuid,
    (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now) AS clock
RETURNING uuid, id, created_at
"""


# The words of transactions, where one of a statement has some.
WORDS_COLUMNS = ", description, reference, metadata"
WORDS_ARRAYS = (
    ", %(descriptions)s::text[], %(references)s::text[], %(metadata)s::text[]"
)


def columns_of_words(words: Sequence[Words] | None) -> dict[str, list[str]]:
    """Return the values of WORDS_ARRAYS; none for None."""
    if not words:
        return {}
    names = ("descriptions", "references", "metadata")
    return dict(zip(names, map(list, zip(*words, strict=True)), strict=True))


def columns_of_caller(caller: Caller) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parts of an INSERT's SQL that name the caller, and their values.

    Without a caller of their own, transactions get the defaults of the database.
    """
    if caller == ANYBODY:
        return {"caller": "", "caller_values": ""}, {}
    parts = {
        "caller": ", tenant, actor",
        "caller_values": ", %(tenant)s, %(actor)s",
    }
    return parts, {"tenant": caller.tenant, "actor": caller.actor}


def open_wallets(
    uuids: Iterable[UUID], *, caller: Caller = ANYBODY, now: datetime | None = None
) -> list[tuple[UUID, int, datetime]]:
    """Create a caller's empty wallets; return (UUID, id, time) of each, unordered.

    One query.
    """
    values = {
        "uuids": array(uuids),
        "currency": default_currency(),
        "tenant": caller.tenant,
        "actor": caller.actor,
        "now": now,
    }
    return execute_prepared(_OPEN, values)


def deposit(
    requests: Sequence[tuple[str, int, str]],
    *,
    words: Sequence[Words] | None = None,
    caller: Caller = ANYBODY,
    now: datetime | None = None,
    skip_locked: bool = False,
    lock_wait: float | None = None,
) -> list[tuple[str, datetime, int, int, int]]:
    """Make the deposits (wallet, amount, key); return those done, in any order.

    Of each its key, its time (`now`, or the database's clock), the ids of transaction
    and wallet, and the wallet's balance after it (minor units). One statement. Locks the
    wallets by id, then takes the keys in their order. For a locked wallet, or a key
    that another transaction uses at this moment, it waits `lock_wait` seconds (None:
    the usual limit), and then fails with a lock time-out. With `skip_locked` locked
    wallets are left out.

    Also left out are unknown, frozen and closed wallets, keys that exist, and all deposits of a wallet
    that has no room for all of them. Keys must differ; amounts must be within limits
    (minor units); wallets and keys are UUIDs as canonical text. `words`: those of each
    request; None: nobody has any, which is faster.
    """
    parts, named = columns_of_caller(caller)
    sql = _DEPOSIT.format(
        **parts,
        skip_locked="SKIP LOCKED" if skip_locked else "",
        patience=patience(lock_wait),
        max_money=MAX_MONEY,
        arrays=WORDS_ARRAYS if words else "",
        words=WORDS_COLUMNS if words else "",
    )
    wallets, amounts, keys = map(array, zip(*requests, strict=True))
    columns = {"wallets": wallets, "amounts": amounts, "keys": keys, **named}
    return execute_prepared(sql, {**columns, **columns_of_words(words), "now": now})
