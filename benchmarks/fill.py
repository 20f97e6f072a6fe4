"""Fills the database for a measurement. The filling is not measured."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import connection, transaction

from wallets.models.ledger import Movement
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import MAX_MANY, DepositRequest, deposit_many
from wallets.utils.database.batch import insert_rows
from wallets.utils.database.transactions import database_now
from wallets.utils.database.untaken import insert_untaken


def wallets(count: int, *, balance: int = 0) -> list[Wallet]:
    """Create `count` wallets, each with this balance."""
    Wallet.objects.bulk_create([Wallet() for _ in range(count)], batch_size=1000)
    made = list(Wallet.objects.order_by("pk"))
    for first in range(0, count if balance else 0, MAX_MANY):
        deposit_many(
            [
                DepositRequest(wallet.uuid, balance, uuid.uuid4())
                for wallet in made[first : first + MAX_MANY]
            ]
        )
    return made


def deposits(owner: Wallet, count: int) -> None:
    """Make `count` deposits of 1 into a wallet."""
    for first in range(0, count, MAX_MANY):
        some = range(min(MAX_MANY, count - first))
        deposit_many([DepositRequest(owner.uuid, 1, uuid.uuid4()) for _ in some])


def due(owners: list[Wallet], count: int) -> datetime:
    """Write `count` withdrawals that are due now, in one transaction; return when.

    The rows are as if each withdrawal had been scheduled an hour ago. If they were
    scheduled one after the other by the API, the first would be paid before the last is
    written.
    """
    now = database_now()
    earlier = now - timedelta(hours=1)
    rows = [
        Transaction(
            wallet=owners[number % len(owners)],
            transaction_type=Transaction.TransactionType.WITHDRAWAL,
            amount=1,
            scheduled_for=now,
            created_at=earlier,
        )
        for number in range(count)
    ]
    with transaction.atomic():
        for first in range(0, count, 1000):
            some = rows[first : first + 1000]
            insert_untaken(
                Transaction,
                some,
                unique="idempotency_key",
                within="tenant",
                same=("wallet_id",),
            )
            insert_rows(Transition, [_scheduled(row, earlier) for row in some])
    return now


def _scheduled(row: Transaction, when: datetime) -> Transition:
    return Transition(
        transaction=row,
        sequence=0,
        event="schedule",
        to_state=State.PENDING.value,
        actor="benchmark",
        created_at=when,
    )


# A history of deposits of 1, one a second, every tenth of them into the first wallet;
# and as many withdrawals that are due in the far future. PostgreSQL only.
_PAST: tuple[str, ...] = (
    """
    INSERT INTO wallets_transaction (created_at, updated_at, executed_at, wallet_id,
        transaction_type, amount, status, idempotency_key, retry_count, final,
        needs_review, failure_code, third_party_response, version)
    SELECT at, at, at, owners.ids[CASE WHEN n %% 10 = 0 THEN 1
            ELSE 2 + n %% (cardinality(owners.ids) - 1) END],
        'DEPOSIT', 1, 'COMPLETED', gen_random_uuid(), 0, false, false, '', '', 0
    FROM (SELECT array_agg(id ORDER BY id) AS ids FROM wallets_wallet) owners,
        (SELECT n, now() + (n - %(count)s) * interval '1 second' AS at
         FROM generate_series(1, %(count)s) n) past
    """,
    """
    INSERT INTO wallets_movement (wallet_id, transaction_id, attempt_number, kind, leg,
        from_account, to_account, amount, sequence, balance_after, created_at)
    SELECT wallet_id, id, 0, 'deposit', 'open', 'outside', 'wallet', 1, place, place,
        executed_at
    FROM (SELECT *, row_number() OVER (PARTITION BY wallet_id ORDER BY id) AS place
          FROM wallets_transaction) numbered ORDER BY id
    """,
    """
    UPDATE wallets_wallet w SET balance = n, movement_count = n, updated_at = last
    FROM (SELECT wallet_id, count(*) n, max(created_at) AS last FROM wallets_movement
          GROUP BY wallet_id) done WHERE w.id = done.wallet_id
    """,
    """
    INSERT INTO wallets_transaction (created_at, updated_at, scheduled_for, wallet_id,
        transaction_type, amount, status, idempotency_key, retry_count, final,
        needs_review, failure_code, third_party_response, version)
    SELECT now(), now(), now() + interval '1000 days' + n * interval '1 second',
        owners.ids[1 + n %% cardinality(owners.ids)],
        'WITHDRAWAL', 1, 'PENDING', gen_random_uuid(), 0, false, false, '', '', 0
    FROM (SELECT array_agg(id ORDER BY id) AS ids FROM wallets_wallet) owners,
        generate_series(1, %(count)s) n
    """,
)


def past(count: int) -> None:
    """Write a history of `count` deposits, and `count` withdrawals that are not due."""
    assert not Movement.objects.exists()
    with connection.cursor() as cursor:
        for statement in _PAST:
            cursor.execute(statement, {"count": count})
        cursor.execute("VACUUM ANALYZE")
