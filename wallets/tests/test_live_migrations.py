"""Migrations of PostgreSQL while other processes write."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock, skipUnless

from django.db import OperationalError, connection, transaction
from django.db.migrations.loader import MigrationLoader

from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.services.ledger import postings
from wallets.services.payouts import payout
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections
from wallets.tests.marks import slow
from wallets.tests.races import PATIENCE
from wallets.tests.test_migrations import MigrationCase, migrate
from wallets.utils import clock
from wallets.utils.database import table_locks
from wallets.utils.database.table_locks import LockTables
from wallets.utils.database.transactions import lock_rows

only_postgresql = skipUnless(
    connection.vendor == "postgresql", "elsewhere a migration keeps no lock of a table"
)
# Earlier migrations are of releases that nobody is known to run.
FIRST = "0016"
CHANGED = re.compile(r'(?:ALTER TABLE|UPDATE|REFERENCES|\bON) "(\w+)"')
CREATED = re.compile(r'CREATE TABLE "(\w+)"')


def value(sql: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


def wait_for_a_waiting_migration() -> None:
    """Return when somebody waits for a table of this database."""
    sql = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database"
        " WHERE NOT granted AND locktype = 'relation' AND datname = current_database()"
    )
    ends = clock.elapsed() + PATIENCE
    while not value(sql):
        assert clock.elapsed() < ends, "the migration waits for no table"
        time.sleep(0.01)


@slow
@only_postgresql
class LiveMigrationTest(MigrationCase):
    """A claim has locked its withdrawal; the migration begins; the claim goes on."""

    def test_ends_as_the_claim_does_without_a_deadlock(self) -> None:
        self.deposit(10)
        self.due_withdrawal(4)
        migrate("0023")
        began, post = threading.Event(), mock.Mock(side_effect=postings.post)

        def post_later(*args: Any, **options: Any) -> list[Movement]:
            began.set()
            wait_for_a_waiting_migration()
            return post(*args, **options)

        def claim() -> payout.Claim:
            try:
                due = Transaction.get_due_pending_withdrawals(self.now)
                return payout.claim(due, bank=self.bank.abilities, limit=1)
            finally:
                close_connections()

        with (
            mock.patch.object(postings, "post", post_later),
            ThreadPoolExecutor(1) as pool,
        ):
            claimed = pool.submit(claim)
            self.assertTrue(began.wait(PATIENCE))
            migrate("0024")
            self.assertEqual(len(claimed.result(PATIENCE).sendings), 1)
        self.assertEqual(post.call_count, 1, "the claim was run again")
        self.assert_money(self.alice, balance=6, held=4)


@slow
@only_postgresql
class TakeTest(CommittingTestCase):
    TABLES = ("wallets_wallet", "wallets_transaction")

    @contextmanager
    def a_long_transaction(self) -> Any:
        """Another session has locked a row of the second table."""
        made = self.deposit(1)
        locked, ends = threading.Event(), threading.Event()

        def hold() -> None:
            try:
                with transaction.atomic():
                    lock_rows(Transaction.objects.filter(pk=made.pk))
                    locked.set()
                    ends.wait(PATIENCE)
            finally:
                close_connections()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(hold)
            self.assertTrue(locked.wait(PATIENCE))
            try:
                yield
            finally:
                ends.set()

    def locks(self) -> int:
        """Return how many tables this session has locked against everybody."""
        return value(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()"
            " AND mode = 'AccessExclusiveLock' AND locktype = 'relation'"
        )

    def test_locks_every_table_and_leaves_the_limit_of_later_waits(self) -> None:
        before = value("SELECT current_setting('lock_timeout')")
        with transaction.atomic():
            table_locks.take(connection, self.TABLES)
            self.assertEqual(self.locks(), 2)
            self.assertEqual(value("SELECT current_setting('lock_timeout')"), before)

    def test_locks_none_while_another_transaction_uses_one(self) -> None:
        with (
            self.a_long_transaction(),
            mock.patch.object(table_locks, "PATIENCE_SECONDS", 0),
            transaction.atomic(),
        ):
            with self.assertRaisesMessage(OperationalError, "nothing was changed"):
                table_locks.take(connection, self.TABLES)
            self.assertEqual(self.locks(), 0)

    def test_waits_for_less_time_than_the_server_to_look_for_deadlocks(self) -> None:
        sql = "SELECT setting::float / 1000 FROM pg_settings WHERE name = %s"
        looks = value(sql, "deadlock_timeout")
        self.assertLess(table_locks.TRY_SECONDS, looks)


@slow
@only_postgresql
class EachMigrationTest(WalletTestCase):
    """A migration that changes several tables…"""

    def test_locks_them_before_anything_else(self) -> None:
        loader = MigrationLoader(connection)
        checked = 0
        for key in sorted(loader.graph.nodes):
            if key[0] != "wallets" or key[1] < FIRST:
                continue
            migration = loader.graph.nodes[key]
            sql = "\n".join(loader.collect_sql([(migration, False)]))
            changed = {*CHANGED.findall(sql)} - {*CREATED.findall(sql)}
            if len(changed) < 2:
                continue
            first, checked = migration.operations[0], checked + 1
            with self.subTest(key[1]):
                self.assertIsInstance(first, LockTables)
                self.assertLessEqual(changed, {*first.tables})
        self.assertGreaterEqual(checked, 8)
