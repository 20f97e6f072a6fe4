"""The report of triggers, constraints and keys that a restore has left out, by name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock, skipUnless

import sqlparse
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model, UniqueConstraint
from django.utils import timezone

from drills.backups import PostgresDump, recipe
from wallets import checks
from wallets.models.alarm import Alarm
from wallets.models.wallet import Wallet
from wallets.services.operations import safeguards
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders
from wallets.tests.base import CommittingTestCase
from wallets.tests.marks import slow
from wallets.tests.raw import execute
from wallets.utils.database import append_only, uuid_columns

VENDOR = connection.vendor
ROOT = Path(__file__).resolve().parents[2]


def lost() -> list[str]:
    return list(safeguards.lost(connection))


def models() -> list[type[Model]]:
    return list(apps.get_app_config("wallets").get_models())


@contextmanager
def without(table: str, drop: str, add: str, gone: str = "") -> Iterator[None]:
    """Remove something during the block; on SQLite the text `gone` of the table."""
    if VENDOR == "mysql":  # MySQL does not roll back DDL
        execute(drop)
        try:
            yield
        finally:
            execute(add)
        return
    with transaction.atomic():
        if VENDOR == "sqlite" and gone:
            rewrite(table, gone)
        else:
            execute(drop)
        yield
        transaction.set_rollback(True)
    connection.close()


def rewrite(table: str, gone: str) -> None:
    """Create SQLite's table again without a part that no statement can remove."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [table])
        (sql,) = cursor.fetchone()
        assert gone in sql, (gone, sql)
        cursor.execute(f"DROP TABLE {table}")
        cursor.execute(sql.replace(gone, "", 1))


def clause(table: str, begin: str) -> str:
    """Return a constraint's text in SQLite's CREATE TABLE, with the comma before it."""
    if VENDOR != "sqlite":
        return ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [table])
        (sql,) = cursor.fetchone()
    start = sql.find(begin)
    if start < 0:
        return ""
    depth = 0
    for end in range(start, len(sql)):
        depth += (sql[end] == "(") - (sql[end] == ")")
        if depth < 0 or (depth == 0 and sql[end] == ","):
            break
    return sql[sql.rfind(",", 0, start) : end]


@slow
class LostTest(CommittingTestCase):
    def setUp(self) -> None:
        super().setUp()
        # Django parses the text of each of SQLite's tables for each question about it,
        # which took nine tenths of these tests' time. Equal texts are parsed once here.
        parsed = mock.patch("sqlparse.parse", cache(sqlparse.parse))
        parsed.start()
        self.addCleanup(parsed.stop)

    def assert_named(self, *parts: str) -> None:
        found = [text for text in lost() if all(part in text for part in parts)]
        self.assertTrue(found, f"{parts} is not named")

    def test_is_nothing_after_the_migrations(self):
        self.assertEqual(lost(), [])
        self.assertEqual(checks.schema_is_whole(databases=["default"]), [])

    def test_names_each_trigger(self):
        triggers = {
            name: (table, statement.format(table=table))
            for table in append_only.APPEND_ONLY_TABLES
            for statement in append_only._CREATE[VENDOR]
            for name in re.findall(
                r"CREATE TRIGGER (\S+)", statement.format(table=table)
            )
        }
        self.assertGreaterEqual(len(triggers), 4)
        for name, (table, create) in triggers.items():
            on = f" ON {table}" if VENDOR == "postgresql" else ""
            with (
                self.subTest(name),
                without(table, f"DROP TRIGGER {name}{on}", create),
            ):
                self.assert_named("trigger", name)
                self.assertEqual(len(lost()), 1)

    def test_names_no_trigger_after_the_recipe(self):
        append_only.remove(connection)
        self.assertGreaterEqual(len(lost()), 14)
        *shell, code = shlex.split(recipe("triggers"))
        self.assertEqual(shell, ["python", "manage.py", "shell", "-c"])
        exec(code, {})
        self.assertEqual(lost(), [])

    @skipUnless(VENDOR == "postgresql", "only PostgreSQL can switch one off")
    def test_names_a_trigger_that_is_switched_off(self):
        table = "wallets_movement"
        with without(table, f"ALTER TABLE {table} DISABLE TRIGGER USER", ""):
            self.assertEqual(len(lost()), 2)

    def test_names_each_constraint(self):
        quote = connection.ops.quote_name
        for model in models():
            table = model._meta.db_table
            for constraint in model._meta.constraints:
                if not safeguards.is_possible(constraint, connection):
                    continue
                with connection.schema_editor(collect_sql=True, atomic=False) as editor:
                    add = str(constraint.create_sql(model, editor))
                drop = f"ALTER TABLE {table} DROP CONSTRAINT {quote(constraint.name)}"
                if VENDOR == "postgresql":
                    drop += " CASCADE"  # also drops a key that refers to it
                gone = clause(table, f'CONSTRAINT "{constraint.name}"')
                if VENDOR == "mysql" and isinstance(constraint, UniqueConstraint):
                    # A foreign key may need the index: another one replaces it here.
                    extra = f"x_{constraint.name}"[:60]
                    drop = self.put_another_index(constraint, model, extra)
                    add = f"{add}; ALTER TABLE {table} DROP INDEX {extra}"
                elif self.is_an_index(constraint, gone):
                    drop = f"DROP INDEX {quote(constraint.name)}"
                with (
                    self.subTest(constraint.name),
                    without_all(table, drop, add, gone),
                ):
                    self.assert_named(constraint.name, table)

    def is_an_index(self, constraint: Any, clause: str) -> bool:
        """Whether the database has no constraint of this name, but an index."""
        if not isinstance(constraint, UniqueConstraint) or VENDOR == "mysql":
            return False
        return not clause if VENDOR == "sqlite" else bool(constraint.condition)

    def put_another_index(self, constraint: Any, model: type[Model], extra: str) -> str:
        table = model._meta.db_table
        columns = ", ".join(
            connection.ops.quote_name(model._meta.get_field(name).column)
            for name in constraint.fields
        )
        return (
            f"ALTER TABLE {table} ADD INDEX {extra} ({columns});"
            f"ALTER TABLE {table} DROP INDEX {constraint.name}"
        )

    def test_names_each_foreign_key_of_a_field(self):
        for model in models():
            table = model._meta.db_table
            with connection.cursor() as cursor:
                found = connection.introspection.get_constraints(cursor, table)
            ours = [
                [field.column]
                for field in model._meta.concrete_fields
                if getattr(field, "db_constraint", False)
            ]
            for name, one in found.items():
                if not one["foreign_key"] or one["columns"] not in ours:
                    continue
                (column,), (other, key) = one["columns"], one["foreign_key"]
                if VENDOR == "mysql":
                    drop = f"ALTER TABLE {table} DROP FOREIGN KEY {name}"
                else:
                    drop = f"ALTER TABLE {table} DROP CONSTRAINT {name}"
                add = (
                    f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column})"
                    f" REFERENCES {other} ({key})"
                )
                gone = clause(table, f'"{column}" ').partition(" REFERENCES")
                with (
                    self.subTest(table=table, column=column),
                    without(table, drop, add, f" REFERENCES{gone[2]}"),
                ):
                    self.assert_named(f"foreign key of {column}", table)

    def test_names_unique_values_of_a_field(self):
        table = Wallet._meta.db_table
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, table)
        (name,) = (
            name
            for name, one in found.items()
            if one["unique"] and one["columns"] == ["uuid"]
        )
        drop = f"ALTER TABLE {table} DROP CONSTRAINT {name}"
        if VENDOR == "mysql":
            drop = f"ALTER TABLE {table} DROP INDEX {name}"
        add = f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE (uuid)"
        with without(table, drop, add, " UNIQUE"):
            self.assert_named("unique constraint of uuid", table)

    @skipUnless(VENDOR == "postgresql", "only PostgreSQL has sequences")
    def test_names_each_sequence_that_is_behind_and_the_recipe_sets_them(self):
        self.deposit(10)
        withdrawal = self.due_withdrawal(1)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        numbered = [model for model in models() if model._meta.auto_field]
        filled = [model for model in numbered if model._default_manager.exists()]
        self.assertGreaterEqual(len(filled), 5)
        for model in filled:
            name = model._meta.db_table
            execute(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), 1, false)")
        found = lost()
        self.assertEqual(len(found), len(filled), found)
        for model in filled:
            self.assert_named(
                f"{model._meta.db_table}_id_seq is behind", "it gave is 0"
            )
        execute("ANALYZE")  # as autovacuum does; the plan of the recipe depends on it
        backup = PostgresDump(Path())
        backup.database = connection.settings_dict["NAME"]
        backup.run(recipe("sequences"))
        self.assertEqual(lost(), [])
        self.deposit(10)

    @skipUnless(VENDOR == "postgresql", "only PostgreSQL has sequences")
    def test_names_a_sequence_that_is_missing(self):
        table = "wallets_alarm"
        drop = f"ALTER TABLE {table} ALTER id DROP IDENTITY"
        with without(table, drop, ""):
            self.assertEqual(lost(), [f"the sequence of {table} is missing"])

    @skipUnless(VENDOR == "postgresql", "only PostgreSQL has sequences")
    def test_is_no_sequence_whose_last_id_is_the_highest(self):
        made = {"kind": "no_statement", "subject": "x", "detail": "x"}
        Alarm.objects.create(pk=7, **made, created_at=timezone.now())
        for given, found in ((6, 1), (7, 0), (8, 0)):
            execute(
                f"SELECT setval(pg_get_serial_sequence('wallets_alarm', 'id'), {given})"
            )
            self.assertEqual(len(lost()), found)

    @skipUnless(VENDOR != "postgresql", "a sequence of its own")
    def test_is_no_sequence_elsewhere(self):
        """Set back by hand, SQLite and InnoDB go on above the highest id."""
        first = self.deposit(1)
        table = first._meta.db_table
        if VENDOR == "sqlite":
            execute(f"UPDATE sqlite_sequence SET seq = 0 WHERE name = '{table}'")
        else:
            execute(f"ALTER TABLE {table} AUTO_INCREMENT = 1")
        self.assertEqual(self.deposit(1).pk, first.pk + 1)

    def test_is_reported_by_the_check_and_by_the_command(self):
        append_only.remove(connection)
        try:
            first, *_ = checks.schema_is_whole(databases=["default"])
            self.assertEqual(first.id, "wallets.E006")
            self.assertIn("wallets_movement", first.msg)
            said = StringIO()
            with self.assertRaises(CommandError):
                call_command("verify_ledger", stdout=said)
            self.assertIn("schema: the database: the trigger", said.getvalue())
        finally:
            append_only.install(connection)

    def test_is_not_reported_while_a_waiting_migration_may_bring_it(self):
        recorder = MigrationRecorder(connection)
        (newest,) = safeguards.MigrationExecutor(connection).loader.graph.leaf_nodes(
            "wallets"
        )
        append_only.remove(connection)
        recorder.record_unapplied(*newest)
        try:
            self.assertEqual(checks.schema_is_whole(databases=["default"]), [])
            self.assert_told_by_check_and_verify_ledger()
        finally:
            recorder.record_applied(*newest)
            append_only.install(connection)
        said = StringIO()
        call_command("check", databases=["default"], stderr=said)
        self.assertNotIn("W030", said.getvalue())

    def assert_told_by_check_and_verify_ledger(self):
        """A constraint may be missing after an interrupted migration (MariaDB)."""
        why = "not checked: 1 migrations are not applied"
        said = StringIO()
        call_command("check", databases=["default"], stderr=said)
        self.assertIn(
            f"(wallets.W030) The schema of the database 'default' is {why}",
            said.getvalue(),
        )
        found = StringIO()
        with self.assertRaisesMessage(CommandError, "1 findings"):
            call_command("verify_ledger", stdout=found)
        self.assertIn(f"schema: the database: {why}", found.getvalue())
        said = StringIO()
        call_command("migrate", "wallets", "0001", plan=True, stdout=said, stderr=said)
        self.assertNotIn("W030", said.getvalue())


@contextmanager
def without_all(table: str, drop: str, add: str, gone: str) -> Iterator[None]:
    """Like `without`, with several statements in one text."""
    first, *more = drop.split(";")
    if not more:
        with without(table, drop, add.partition(";")[0], gone):
            yield
        return
    for statement in (first, *more):
        execute(statement)
    try:
        yield
    finally:
        for statement in add.split(";"):
            execute(statement)


@skipUnless(VENDOR == "mysql", "MariaDB's own type")
class NativeUUIDTest(CommittingTestCase):
    """Tables of another release, or of Django's own backend, on MariaDB 10.7+."""

    columns = (
        ("wallets_wallet", "uuid"),
        ("wallets_transaction", "idempotency_key"),
        ("wallets_attempt", "reference"),
        ("wallets_attempt", "claim_token"),
    )

    def setUp(self) -> None:
        super().setUp()
        if not connection.mysql_is_mariadb or connection.mysql_version < (10, 7):
            self.skipTest("this server has no such type")
        self.key = self.deposit(5).idempotency_key
        for table, column in self.columns:
            execute(f"ALTER TABLE {table} MODIFY {column} uuid NOT NULL")
        self.addCleanup(self.back_to_text)

    def back_to_text(self) -> None:
        with connection.schema_editor(atomic=False) as editor:
            uuid_columns.as_text(editor, uuid_columns.native(connection, models()))

    def test_is_named_by_the_check(self) -> None:
        found = [one.msg for one in checks.schema_is_whole(databases=["default"])]
        self.assertEqual(len(found), len(self.columns))
        for table, column in self.columns:
            self.assertTrue(any(f"{column} of {table}" in msg for msg in found), found)
        self.back_to_text()

    def test_is_made_text_by_the_migration(self) -> None:
        self.back_to_text()
        self.assert_right()

    def test_is_made_text_by_the_recipe(self) -> None:
        text = (ROOT / "docs" / "production.md").read_text()
        recipe = re.findall(r"^    ((?:ALTER TABLE|UPDATE) wallets_.*);$", text, re.M)
        self.assertEqual(len(recipe), 3 * len(self.columns))
        for statement in recipe:
            execute(statement)
        self.assert_right()

    def assert_right(self) -> None:
        self.assertEqual(checks.schema_is_whole(databases=["default"]), [])
        self.assert_money(self.alice, balance=5)
        self.assertEqual(Wallet.objects.get(uuid=self.alice.uuid), self.alice)
        self.assertEqual(self.alice.transactions.get().idempotency_key, self.key)
        again = builders.deposit_receipt(self.alice.uuid, 5, self.key)
        self.assertTrue(again.replayed)
        WalletService.create()
