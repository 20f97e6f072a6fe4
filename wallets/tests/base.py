"""Test cases with common data: Alice and Bob own wallets, Oscar is an operator.

The ledger is verified after every test. Tests never use a shared broker by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from itertools import compress
from typing import Any
from unittest import mock

from celery import current_app
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection, connections, transaction
from django.db.models import Q
from django.test import TestCase, TransactionTestCase, override_settings

from wallets.models.alarm import Alarm
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit
from wallets.services.ledger.correction_audit import verify_corrections
from wallets.services.ledger.finding import Finding
from wallets.services.ledger.parent_audit import verify_parents
from wallets.services.ledger.return_audit import verify_returns
from wallets.services.ledger.schedule_audit import verify_schedules
from wallets.services.ledger.transfer_audit import verify_transfers
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders
from wallets.tests.fakes import Does, FakeBank
from wallets.utils import clock, uptime
from wallets.utils.database import append_only
from wallets.utils.database.transactions import database_now

current_app.conf.broker_url = "memory://"
# Each test client has its own handler, which would list all static files again.
settings.WHITENOISE_AUTOREFRESH = True
# Tests of other processes on this machine log in at the same time.
settings.LOGIN_TURN_SECONDS = 60

OSCAR = "operator oscar"
END_OF_TIME = datetime.max.replace(tzinfo=dt_timezone.utc)
# For tests that check many passwords: a safe hash is slow on purpose.
quick_passwords = override_settings(
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]
)


class CommonCase:
    """Data and checks of every test. A mixin for Django's two kinds of test case."""

    # False in a test that damages the ledger on purpose.
    books_must_be_right = True

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.alice = WalletService.create()
        self.bob = WalletService.create()
        self.bank = FakeBank()
        self.now = database_now()

    def tearDown(self) -> None:
        if self.books_must_be_right and not _books_are_empty():
            # Tests set the clock forward, so no row counts as dated in the future.
            findings = list(
                ledger_audit.verify(now=END_OF_TIME, without=_unused_parts())
            )
            assert not findings, findings
            # A sweep puts aside a row that fails. No row may fail here.
            damaged = Alarm.objects.filter(kind=Alarm.Kind.DAMAGED_ROWS)
            assert not damaged, list(damaged.values_list("subject", "detail"))
        super().tearDown()  # type: ignore[misc]

    def after(self, seconds: float) -> datetime:
        """Return the time that is this many seconds after the start of the test."""
        return self.now + timedelta(seconds=seconds)

    def deposit(self, amount: int, wallet: Wallet | None = None) -> Transaction:
        return builders.deposit(wallet or self.alice, amount)

    def due_withdrawal(self, amount: int, wallet: Wallet | None = None) -> Transaction:
        """Return a withdrawal that is due when the test begins."""
        return builders.due_withdrawal(wallet or self.alice, amount, due=self.now)

    def refused_withdrawal(self, amount: int, *, at: datetime) -> Transaction:
        """A withdrawal that the bank refused at this moment; it waits for a retry."""
        self.deposit(amount)
        withdrawal = builders.due_withdrawal(self.alice, amount, due=at)
        self.bank.script.append(Does.REFUSE)
        return WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=at)

    def assert_money(self, wallet: Wallet, *, balance: int, held: int = 0) -> None:
        """Read the wallet again, and compare its balance and its held money."""
        wallet.refresh_from_db()
        found = {"balance": wallet.balance, "held": wallet.held}
        assert found == {"balance": balance, "held": held}, found


class WalletTestCase(CommonCase, TestCase):
    """For tests on one connection. Fast: it rolls back after each test."""


class CommittingTestCase(CommonCase, TransactionTestCase):
    """For tests that need real commits: threads, races, constraints, on_commit."""

    def _fixture_teardown(self) -> None:
        _empty_tables()


# Permissions and content types stay: Django is slow to create them again.
_KEPT = {"auth_permission", "django_content_type"}


# PostgreSQL deletes so many rows faster than it truncates all tables.
_FEW = 1000


def forget_statistics(case: TestCase | TransactionTestCase) -> None:
    """Let PostgreSQL know nothing of the tables until the test's own ANALYZE.

    It does not know of the rows of earlier tests, and autovacuum leaves it so.
    """
    if connection.vendor == "postgresql":
        _truncate_tables()
        _switch_autovacuum("SET (autovacuum_enabled = false)")
        if not connection.in_atomic_block:
            case.addCleanup(_switch_autovacuum, "RESET (autovacuum_enabled)")


def _switch_autovacuum(change: str) -> None:
    with connection.cursor() as cursor:
        for table in _emptied_tables():
            cursor.execute(f'ALTER TABLE "{table}" {change}')


def _truncate_tables() -> None:
    append_only.remove(connection)
    try:
        connection.ops.execute_sql_flush(
            connection.ops.sql_flush(no_style(), _emptied_tables())
        )
    finally:
        append_only.install(connection)


def _empty_tables() -> None:
    """Delete all rows, although triggers refuse that for append-only tables.

    Only tables with rows are emptied: to truncate all of them takes PostgreSQL half a
    second, and new triggers for all take MariaDB 0.3 s.
    """
    if connection.vendor == "postgresql" and Movement.objects.count() > _FEW:
        _truncate_tables()
        return
    used = _tables_with_rows()
    protected = [table for table in append_only.all_tables() if table in used]
    truncates = connection.vendor == "mysql"  # which fires no trigger there
    with connection.constraint_checks_disabled(), transaction.atomic():
        if not truncates:
            append_only.remove(connection, protected)
        with connection.cursor() as cursor:
            for table in used:
                whole = truncates and table in protected
                name = connection.ops.quote_name(table)
                cursor.execute(f"{'TRUNCATE TABLE' if whole else 'DELETE FROM'} {name}")
            if connection.vendor == "postgresql":
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        if not truncates:
            append_only.install(connection, protected)


def _emptied_tables() -> list[str]:
    names = connection.introspection.django_table_names(
        only_existing=True, include_views=False
    )
    return sorted(set(names) - _KEPT)


def _tables_with_rows() -> list[str]:
    tables = _emptied_tables()
    exist = _exist([connection.ops.quote_name(table)] for table in tables)
    return list(compress(tables, exist))


def _exist(groups: Iterable[Iterable[str]]) -> tuple[bool, ...]:
    """Return of each group whether there are rows of any of it. One query.

    A group has tables, each with the condition that its rows must meet.
    """
    asked = (
        " OR ".join(f"EXISTS (SELECT 1 FROM {rows})" for rows in group)
        for group in groups
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(asked)}")
        return tuple(map(bool, cursor.fetchone()))


# Parts of the audit, and the rows without which they can find nothing: for most tests
# they are half of its time.
_ROWS_OF_PARTS = {
    verify_transfers: (
        "wallets_transfer",
        "wallets_transaction WHERE transaction_type LIKE 'TRANSFER%'",
        "wallets_movement WHERE kind LIKE 'transfer%'",
    ),
    verify_corrections: (
        "wallets_correction",
        "wallets_transaction WHERE transaction_type LIKE 'CORRECTION%'",
        "wallets_movement WHERE kind LIKE 'correction%'",
    ),
    verify_returns: (
        "wallets_paymentreturn",
        "wallets_transaction WHERE transaction_type = 'RETURN'",
    ),
    verify_schedules: (
        "wallets_transaction WHERE first_scheduled_for IS NOT NULL",
        "wallets_transition WHERE event = 'reschedule'",
    ),
}


def _unused_parts() -> set[Callable[[], Iterator[Finding]]]:
    """Return the parts that can find nothing.

    A row that refers to a missing one is refused by the engine when a test writes it, or
    at the test's end; `test_parent_audit` shows what is found with these checks off.
    """
    used = _exist(_ROWS_OF_PARTS.values())
    return {verify_parents, *_ROWS_OF_PARTS} - set(compress(_ROWS_OF_PARTS, used))


def _books_are_empty() -> bool:
    """Whether the ledger is empty, so that nothing can be wrong."""
    used = Q(balance__gt=0) | Q(held__gt=0) | Q(movement_count__gt=0)
    rows = (
        Transaction.objects.all(),
        Movement.objects.all(),
        Wallet.objects.filter(used),
    )
    return not any(some.exists() for some in rows)


def close_connections() -> None:
    """Close this thread's connections: call it at the end of each test thread."""
    connections.close_all()


def database_environment() -> dict[str, str]:
    """Return the environment of a program that uses the test's own database."""
    parts = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")
    database = connection.settings_dict
    return {f"DB_{part}": str(database[part] or "") for part in parts}


def up_for(seconds: float) -> Any:
    """Set the service's uptime to this many seconds, by `with` or as a decorator."""
    return mock.patch.object(uptime, "BEGAN", clock.elapsed() - seconds)


def utc(*parts: int) -> datetime:
    """Return a time in UTC."""
    return datetime(*parts, tzinfo=dt_timezone.utc)  # type: ignore[misc,arg-type]
