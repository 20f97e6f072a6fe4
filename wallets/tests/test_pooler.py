"""PgBouncer in transaction mode: each transaction may have another session.

The tests use a real PgBouncer without settings for this service.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest import mock

from django.core.management import call_command
from django.db import OperationalError, connection, transaction

from wallets import checks
from wallets.models.alarm import Alarm
from wallets.models.tally import Tally
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.ledger import ledger_audit
from wallets.services.operations import alarm, metrics
from wallets.services.payouts import resolver
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.api import Api
from wallets.tests.base import (
    END_OF_TIME,
    OSCAR,
    CommittingTestCase,
    close_connections,
)
from wallets.tests.fakes import Does
from wallets.tests.marks import slow
from wallets.tests.pgbouncer import at_port, behind_pgbouncer, pgbouncer
from wallets.utils.database.transactions import read_snapshot, run_in_transaction

LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


def shown(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        return str(cursor.fetchone()[0])


class PoolerTestCase(CommittingTestCase):
    """All connections go through a PgBouncer with two sessions of the server."""

    def setUp(self) -> None:
        super().setUp()
        self.admin = connection.copy()
        self.addCleanup(self.admin.close)
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.pooler = stack.enter_context(pgbouncer(pool_size=2))
        stack.enter_context(at_port(self.pooler.port, lock_timeout=1))

    def administrate(self, sql: str) -> None:
        with self.admin.cursor() as cursor:
            cursor.execute(sql)

    @contextmanager
    def holding(self, wallet: Wallet) -> Iterator[None]:
        """Lock the wallet on another connection during the block."""
        with self.admin.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(
                "SELECT id FROM wallets_wallet WHERE id = %s FOR UPDATE", [wallet.pk]
            )
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")


@behind_pgbouncer
class LimitsTest(PoolerTestCase):
    def test_hold_in_each_transaction_and_are_not_left_to_others(self) -> None:
        seen = run_in_transaction(lambda: [shown(name) for name in LIMITS])
        self.assertEqual(seen, ["1s", "10s", "30s"])
        self.assertEqual([shown(name) for name in LIMITS], ["0", "0", "0"])

    def test_of_statements_do_not_apply_to_long_reads(self) -> None:
        with read_snapshot():
            self.assertEqual([shown(name) for name in LIMITS[1:]], ["0", "0"])
            self.assertEqual(shown("transaction_isolation"), "repeatable read")

    def test_are_there_without_a_pooler_whatever_the_address_says(self) -> None:
        port = self.admin.settings_dict["PORT"] or 5432
        with at_port(int(port), options="-c lock_timeout=1h -c work_mem=5MB"):
            self.assertFalse(connection_is_pooled())
            self.assertEqual([shown(name) for name in LIMITS], ["1s", "10s", "30s"])
            self.assertEqual(shown("work_mem"), "5MB")

    def test_are_set_by_statements_behind_a_pooler(self) -> None:
        self.assertTrue(connection_is_pooled())
        # A session of the server does not know the prepared statements of another one.
        self.assertIsNone(connection.connection.prepare_threshold)
        with at_port(int(self.admin.settings_dict["PORT"] or 5432)):
            self.assertFalse(connection_is_pooled())
            self.assertEqual(connection.connection.prepare_threshold, 1)

    @slow
    def test_end_a_deposit_to_a_held_wallet(self) -> None:
        ask = DepositRequest(self.alice.uuid, 1, uuid.uuid4())
        for name, work in (
            ("one", lambda: WalletService.deposit(self.alice.uuid, 1)),
            ("many", lambda: deposit_many([ask])),
        ):
            with (
                self.subTest(name),
                self.holding(self.alice),
                self.assertRaisesMessage(OperationalError, "lock timeout"),
            ):
                work()
        WalletService.deposit(self.alice.uuid, 1)
        self.assert_money(self.alice, balance=1)


def connection_is_pooled() -> Any:
    connection.ensure_connection()
    return connection.pooled


@behind_pgbouncer
class HeldWalletTest(Api, PoolerTestCase):
    @slow
    def test_is_answered_in_its_bound(self) -> None:
        began = time.monotonic()
        with self.holding(self.alice):
            response = self.post(self.path("deposit"), {"amount": 1}, key=uuid.uuid4())
        self.assert_problem(response, 409, "request_in_progress")
        # Without a limit the deposit, and this test, would wait for ever.
        self.assertLess(time.monotonic() - began, 60)


@behind_pgbouncer
class IsolationTest(PoolerTestCase):
    """The server's default is REPEATABLE READ."""

    def setUp(self) -> None:
        super().setUp()
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        setting = "default_transaction_isolation"
        self.addCleanup(self.administrate, f"ALTER DATABASE {name} RESET {setting}")
        self.administrate(f"ALTER DATABASE {name} SET {setting} = 'repeatable read'")

    def test_is_read_committed_in_each_transaction(self) -> None:
        self.assertEqual(shown("transaction_isolation"), "repeatable read")
        seen = run_in_transaction(lambda: shown("transaction_isolation"))
        self.assertEqual(seen, "read committed")
        with transaction.atomic():
            self.assertEqual(shown("transaction_isolation"), "read committed")
        self.assertEqual(checks.sessions_are_safe(databases=["default"]), [])

    def test_is_read_committed_outside_of_them_too_without_a_pooler(self) -> None:
        with at_port(int(self.admin.settings_dict["PORT"] or 5432)):
            self.assertEqual(shown("transaction_isolation"), "read committed")
            self.assertEqual(checks.sessions_are_safe(databases=["default"]), [])

    def test_lets_deposits_to_one_wallet_wait_for_each_other(self) -> None:
        """With REPEATABLE READ a transaction that has waited fails in every run."""
        failures = in_threads(8, lambda: deposit_often(self.alice, 5))
        self.assertEqual(failures, [])
        self.assert_money(self.alice, balance=40)

    def test_lets_two_operators_acknowledge_one_alarm(self) -> None:
        run_in_transaction(
            lambda: alarm.raise_alarm(Alarm.Kind.PAID_TWICE, subject="x", detail="x")
        )
        (known,) = Alarm.objects.all()
        self.changing(
            "UPDATE wallets_alarm SET acknowledged_at = now(), acknowledged_by = 'olga'",
            lambda: alarm.acknowledge(known.pk, actor=OSCAR),
        )
        self.assertEqual(Alarm.objects.get().acknowledged_by, "olga")

    def test_lets_metrics_be_read_twice_at_once(self) -> None:
        self.deposit(7)
        Tally.objects.create(name="movement")
        with mock.patch.object(metrics, "SETTLED", timedelta(days=-1)):
            self.changing("UPDATE wallets_tally SET upto = upto", metrics.figures)
            self.assertEqual(metrics.figures().totals["amount:deposit"], 7)

    def changing(self, sql: str, work: Any) -> None:
        """Do it while another transaction changes the same row, and commits then."""
        waits = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        failures: list[BaseException] = []
        thread = threading.Thread(target=lambda: failures.extend(in_threads(1, work)))
        with self.admin.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(sql)
            thread.start()
            count = 0
            while not count and thread.is_alive():
                time.sleep(0.02)
                cursor.execute(waits)
                (count,) = cursor.fetchone()
            cursor.execute("COMMIT")
        thread.join(100)
        self.assertEqual((count, failures), (1, []))


@behind_pgbouncer
class CommitTest(PoolerTestCase):
    """The database's `synchronous_commit` is off: a crash would lose the last claims."""

    def use(self, value: str) -> None:
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        setting = "synchronous_commit"
        self.addCleanup(self.administrate, f"ALTER DATABASE {name} RESET {setting}")
        self.administrate(f"ALTER DATABASE {name} SET {setting} = '{value}'")

    def test_is_durable_in_each_transaction(self) -> None:
        self.use("off")
        self.assertEqual(shown("synchronous_commit"), "off")
        seen = run_in_transaction(lambda: shown("synchronous_commit"))
        self.assertEqual(seen, "on")
        self.assertEqual(checks.sessions_are_safe(databases=["default"]), [])

    def test_is_durable_outside_of_them_too_without_a_pooler(self) -> None:
        self.use("off")
        with at_port(int(self.admin.settings_dict["PORT"] or 5432)):
            self.assertEqual(shown("synchronous_commit"), "on")
            self.assertEqual(checks.sessions_are_safe(databases=["default"]), [])

    def test_waits_for_a_standby_as_the_operator_has_said(self) -> None:
        self.use("remote_apply")
        seen = run_in_transaction(lambda: shown("synchronous_commit"))
        self.assertEqual(seen, "remote_apply")
        for value in ("local", "remote_write", "on", "remote_apply"):
            self.use(value)
            with at_port(int(self.admin.settings_dict["PORT"] or 5432)):
                self.assertEqual(shown("synchronous_commit"), value)


def deposit_often(wallet: Wallet, times: int) -> None:
    for _ in range(times):
        WalletService.deposit(wallet.uuid, 1)


def in_threads(count: int, work: Any) -> list[BaseException]:
    """Do the work in this many threads at once; return their exceptions."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 (every error is a result)
            failures.append(error)
        finally:
            close_connections()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    return failures


@behind_pgbouncer
class WalkTest(PoolerTestCase):
    """The whole service behind a pooler, whose sessions change."""

    def test_pays_what_was_scheduled_and_finds_out_what_was_lost(self) -> None:
        self.deposit(100)
        for does in (Does.PAY, Does.PAY_SILENTLY):
            withdrawal = self.due_withdrawal(30)
            self.bank.script.append(does)
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        for seconds in (100, 300, 600):
            resolver.resolve_due(bank=self.bank, limit=10, now=self.after(seconds))
        statuses = Transaction.objects.filter(scheduled_for__isnull=False)
        self.assertEqual(
            {row.status for row in statuses}, {Transaction.Status.COMPLETED}
        )
        self.assert_money(self.alice, balance=40)
        said = StringIO()
        # The times of this test are ahead of the database's clock.
        with mock.patch.object(ledger_audit, "database_now", return_value=END_OF_TIME):
            call_command("verify_ledger", stdout=said)
        self.assertIn("The books are right", said.getvalue())

    def test_serves_more_clients_than_the_server_has_sessions(self) -> None:
        """Each client makes statements that would be prepared in its own session."""

        def work() -> None:
            deposit_often(self.alice, 5)
            WithdrawalService.schedule(self.alice.uuid, 1, self.after(600))

        self.assertEqual(in_threads(12, work), [])
        self.assert_money(self.alice, balance=60)
