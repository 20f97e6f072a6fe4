"""The fast path of transfers on PostgreSQL: one statement, in its own transaction.

It does the same as `services.transfers.transfer_batch`, for transfers that succeed in
any order. The requests that it leaves out are handled there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from wallets.models.base import MAX_MONEY
from wallets.services.ledger.ledger_postgresql import columns_of_caller
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.prepared import array, execute_prepared, patience

# All wallets are locked first, in the order of their ids, and read as they are then; the
# UPDATE, too, uses the latest version of a row. A wallet is able if its balance covers
# all that goes out and it has room for all that comes in, so each of its transfers
# succeeds, whichever others are left out. Only transfers between able wallets are made.
# Their keys are inserted in order; a key that exists inserts nothing, and then neither
# does the other half. A wallet's movements are numbered in the order of the requests. If
# a wallet were not updated, the LEFT JOIN would give its movement no wallet, and the
# whole statement would fail.
#
# PostgreSQL plans for ten requests, whatever their number is, and for one row after an
# inner join or a condition. A next join would compare each row with each other one: with
# a thousand requests that was most of the time. So `judged` and `paired` are made
# by LEFT JOIN, which keeps the ten rows, and rows are marked there and left out later.
_TRANSFER = """
WITH asked AS (
    SELECT item.* FROM {patience}
        unnest(%(payers)s::uuid[], %(payees)s::uuid[], %(amounts)s::bigint[],
            %(keys)s::uuid[], %(other_keys)s::uuid[], %(transfers)s::uuid[])
        WITH ORDINALITY AS item (payer, payee, amount, key, other_key, transfer, place)
), locked AS (
    SELECT id, uuid, currency, balance, held, frozen_in, frozen_out, closed
    FROM wallets_wallet
    WHERE uuid = ANY (ARRAY(SELECT payer FROM asked UNION SELECT payee FROM asked))
    ORDER BY id FOR NO KEY UPDATE {skip_locked}
), clock AS (
    SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now
    FROM (SELECT count(*) FROM locked) AS all_are_locked
), judged AS (
    SELECT asked.*, source.id AS from_id, target.id AS to_id,
        coalesce(source.id <> target.id AND source.currency = target.currency
            AND NOT (source.closed OR source.frozen_out)
            AND NOT (target.closed OR target.frozen_in), false) AS is_possible
    FROM asked LEFT JOIN locked AS source ON source.uuid = asked.payer
        LEFT JOIN locked AS target ON target.uuid = asked.payee
), flows AS (
    SELECT from_id AS wallet_id, amount AS paid, 0 AS got FROM judged WHERE is_possible
    UNION ALL SELECT to_id, 0, amount FROM judged WHERE is_possible
), able AS (
    SELECT locked.id FROM locked JOIN (
        SELECT wallet_id, sum(paid) AS paid, sum(got) AS got FROM flows
        GROUP BY wallet_id
    ) AS flow ON flow.wallet_id = locked.id
    WHERE paid <= balance AND balance + held + got <= {max_money}
), planned AS (
    SELECT judged.*, is_possible AND from_id IN (SELECT id FROM able)
        AND to_id IN (SELECT id FROM able) AS is_planned
    FROM judged
), debits AS (
    INSERT INTO wallets_transaction (wallet_id, transaction_type, amount, status,
        idempotency_key, executed_at, created_at, updated_at, retry_count, final,
        needs_review, failure_code, third_party_response, version{caller})
    SELECT from_id, 'TRANSFER_OUT', amount, 'COMPLETED', key, now, now, now,
        0, false, false, '', '', 0{caller_values}
    FROM planned, clock
    WHERE is_planned AND (NOT %(whole)s OR (SELECT bool_and(is_planned) FROM planned))
    ORDER BY key
    ON CONFLICT (idempotency_key, tenant) DO NOTHING
    RETURNING id, idempotency_key
), credits AS (
    INSERT INTO wallets_transaction (wallet_id, transaction_type, amount, status,
        idempotency_key, executed_at, created_at, updated_at, retry_count, final,
        needs_review, failure_code, third_party_response, version{caller})
    SELECT to_id, 'TRANSFER_IN', amount, 'COMPLETED', other_key, now, now, now,
        0, false, false, '', '', 0{caller_values}
    FROM planned JOIN debits ON debits.idempotency_key = planned.key, clock
    RETURNING id, idempotency_key
), paired AS MATERIALIZED (
    SELECT planned.*, debits.id AS debit_id, credits.id AS credit_id
    FROM planned LEFT JOIN debits ON debits.idempotency_key = planned.key
        LEFT JOIN credits ON credits.idempotency_key = planned.other_key
), made AS (
    SELECT * FROM paired WHERE debit_id IS NOT NULL
), halves AS (
    SELECT made.*, 2 * place AS half, from_id AS wallet_id, debit_id AS transaction_id,
        'out' AS leg, -amount AS change FROM made
    UNION ALL
    SELECT made.*, 2 * place + 1, to_id, credit_id, 'in', amount FROM made
), moved AS (
    UPDATE wallets_wallet AS wallet
    SET balance = wallet.balance + net.change,
        movement_count = wallet.movement_count + net.count,
        updated_at = CASE WHEN wallet.movement_count = 0 THEN now
            ELSE greatest(wallet.updated_at, now) END
    FROM clock, (SELECT wallet_id, sum(change)::bigint AS change, count(*) AS count
                 FROM halves GROUP BY wallet_id) AS net
    WHERE wallet.id = net.wallet_id
    RETURNING wallet.id, wallet.updated_at,
        wallet.balance - net.change AS balance_before,
        wallet.movement_count - net.count AS count_before
), posted AS (
    SELECT halves.*, moved.id AS moved_id, moved.updated_at AS created_at,
        count_before + row_number() OVER earlier AS sequence,
        (balance_before + sum(change) OVER earlier)::bigint AS balance_after
    FROM halves LEFT JOIN moved ON moved.id = halves.wallet_id
    WINDOW earlier AS (PARTITION BY moved.id ORDER BY half)
), movements AS (
    INSERT INTO wallets_movement (wallet_id, transaction_id, transfer_id,
        attempt_number, kind, leg, from_account, to_account, amount, sequence,
        balance_after, created_at)
    SELECT moved_id, transaction_id, transfer, 0, 'transfer_' || leg, leg,
        CASE leg WHEN 'out' THEN 'wallet' ELSE 'clearing' END,
        CASE leg WHEN 'out' THEN 'clearing' ELSE 'wallet' END,
        amount, sequence, balance_after, created_at
    FROM posted
), transfers AS (
    INSERT INTO wallets_transfer (uuid, from_wallet_id, to_wallet_id, debit_id,
        credit_id, amount, created_at, attempt_number, debit_leg, credit_leg)
    SELECT transfer, from_id, to_id, debit_id, credit_id, amount, now, 0, 'out', 'in'
    FROM made, clock
)
SELECT key::text, now, transfer, from_id, to_id, debit_id, credit_id, balance_after
FROM posted, clock WHERE leg = 'out'
"""

# Key, time, transfer, ids of both wallets and both transactions, the payer's balance.
Row = tuple[str, datetime, UUID, int, int, int, int, int]


def transfer(
    requests: Sequence[tuple[UUID, UUID, int, UUID, UUID, UUID]],
    *,
    whole: bool,
    caller: Caller = ANYBODY,
    now: datetime | None = None,
    skip_locked: bool = False,
    lock_wait: float | None = None,
) -> list[Row]:
    """Make the transfers; return a row of those done, in any order. One statement.

    A request is (payer, payee, amount, key, key of the other half, transfer); amounts
    in minor units, within limits; keys must differ. Locks the wallets by id, then takes
    the keys in their order. For a locked wallet, or a key that another transaction uses
    at this moment, it waits `lock_wait` seconds (None: the usual limit), and then fails
    with a lock time-out. With `skip_locked` locked wallets are left out.

    Left out are all transfers that a rule refuses, those whose keys exist, and all of a
    wallet that could not pay all of its transfers from its balance now, or has no room
    for all. With `whole` none is made if a rule leaves out one of them.
    """
    parts, named = columns_of_caller(caller)
    sql = _TRANSFER.format(
        **parts,
        skip_locked="SKIP LOCKED" if skip_locked else "",
        patience=patience(lock_wait),
        max_money=MAX_MONEY,
    )
    names = ("payers", "payees", "amounts", "keys", "other_keys", "transfers")
    columns = dict(zip(names, map(array, zip(*requests, strict=True)), strict=True))
    return execute_prepared(sql, {**columns, **named, "whole": whole, "now": now})
