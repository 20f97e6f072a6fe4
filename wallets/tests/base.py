"""Test cases with a cast: alice owns a wallet, bob is a stranger, oscar an operator.

The books are verified after every test. Tests never ring a real broker.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from typing import Any
from unittest import mock

from celery import current_app
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection, connections
from django.db.models import Q
from django.test import TestCase, TransactionTestCase, override_settings

from wallets.models.alarm import Alarm
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders
from wallets.tests.fakes import Does, FakeBank
from wallets.utils import clock, uptime
from wallets.utils.database import append_only
from wallets.utils.database.transactions import database_now

current_app.conf.broker_url = "memory://"
# A test client has a handler of its own, and each would list all static files anew.
settings.WHITENOISE_AUTOREFRESH = True

OSCAR = "operator oscar"
END_OF_TIME = datetime.max.replace(tzinfo=dt_timezone.utc)
# For tests that check many passwords: a safe hash takes long on purpose.
quick_passwords = override_settings(
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    # Other runs on this machine log in, too.
    LOGIN_TURN_SECONDS=60,
)


class Cast:
    """What every test has at hand. Mixed into Django's two kinds of test case."""

    # A test that damages the books on purpose says so.
    books_must_be_right = True

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.alice = WalletService.create()
        self.bob = WalletService.create()
        self.bank = FakeBank()
        self.now = database_now()

    def tearDown(self) -> None:
        if self.books_must_be_right and not _books_are_empty():
            # Tests put the clock forward: when is theirs to judge.
            findings = list(ledger_audit.verify(now=END_OF_TIME))
            assert not findings, findings
            # Sweeps put aside what fails: nothing may, where nothing was damaged.
            damaged = Alarm.objects.filter(kind=Alarm.Kind.DAMAGED_ROWS)
            assert not damaged, list(damaged.values_list("subject", "detail"))
        super().tearDown()  # type: ignore[misc]

    def after(self, seconds: float) -> datetime:
        """A moment so many seconds after the test began."""
        return self.now + timedelta(seconds=seconds)

    def deposit(self, amount: int, wallet: Wallet | None = None) -> Transaction:
        return builders.deposit(wallet or self.alice, amount)

    def due_withdrawal(self, amount: int, wallet: Wallet | None = None) -> Transaction:
        """A withdrawal that is due when the test begins."""
        return builders.due_withdrawal(wallet or self.alice, amount, due=self.now)

    def refused_withdrawal(self, amount: int, *, at: datetime) -> Transaction:
        """A withdrawal that the bank refused at this moment; it waits for a retry."""
        self.deposit(amount)
        withdrawal = builders.due_withdrawal(self.alice, amount, due=at)
        self.bank.script.append(Does.REFUSE)
        return WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=at)

    def assert_money(self, wallet: Wallet, *, balance: int, held: int = 0) -> None:
        """The wallet, read afresh, has this balance and this much in flight."""
        wallet.refresh_from_db()
        found = {"balance": wallet.balance, "held": wallet.held}
        assert found == {"balance": balance, "held": held}, found


class WalletTestCase(Cast, TestCase):
    """For what one connection can show. Fast: rolled back after each test."""


class CommittingTestCase(Cast, TransactionTestCase):
    """For what needs real commits: threads, races, constraints, on_commit."""

    def _fixture_teardown(self) -> None:
        # The tables are emptied between tests, which append-only tables refuse. What
        # migrations know of the models stays: Django would make it anew each time, slowly.
        append_only.remove(connection)
        try:
            _empty_tables()
        finally:
            append_only.install(connection)


def _empty_tables() -> None:
    tables = connection.introspection.django_table_names(
        only_existing=True, include_views=False
    )
    emptied = set(tables) - {"auth_permission", "django_content_type"}
    connection.ops.execute_sql_flush(
        connection.ops.sql_flush(no_style(), sorted(emptied))
    )


def _books_are_empty() -> bool:
    """Whether there is nothing that could be wrong."""
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
    """The environment of a program that shall use the test's own database."""
    parts = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")
    database = connection.settings_dict
    return {f"DB_{part}": str(database[part] or "") for part in parts}


def up_for(seconds: float) -> Any:
    """A service that was started so long ago: as a `with` or as a decorator."""
    return mock.patch.object(uptime, "BEGAN", clock.elapsed() - seconds)


def utc(*parts: int) -> datetime:
    """A moment in UTC."""
    return datetime(*parts, tzinfo=dt_timezone.utc)  # type: ignore[misc,arg-type]
