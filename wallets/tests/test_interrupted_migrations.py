"""Migrations that are interrupted on servers that cannot roll back a changed table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import skipUnless

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from wallets.services.operations import safeguards
from wallets.tests.marks import slow
from wallets.tests.test_migrations import MigrationCase
from wallets.utils.database import append_only

CHANGES = ("ALTER ", "CREATE ", "DROP ", "RENAME ", "UPDATE ", "INSERT ")


class Killed(BaseException):
    """No code survives it, as no code survives SIGKILL."""


@contextmanager
def killed_after(number: int) -> Iterator[None]:
    """Allow this number of changes, and raise instead of the next one.

    What is refused, because it was done before, does not count.
    """
    done = 0

    def execute(run: Callable[..., Any], sql: str, *args: Any) -> Any:
        nonlocal done
        if not sql.lstrip().startswith(CHANGES):
            return run(sql, *args)
        if done == number:
            raise Killed
        result = run(sql, *args)
        done += 1
        return result

    with connection.execute_wrapper(execute):
        yield


class Steps:
    """A migration whose models are made once: it is run many times."""

    def __init__(self, name: str, before: str) -> None:
        loader = MigrationExecutor(connection).loader
        self._operations = loader.get_migration("wallets", name).operations
        self._states = [loader.project_state([("wallets", before)])]
        for operation in self._operations:
            state = self._states[-1].clone()
            operation.state_forwards("wallets", state)
            state.apps  # noqa: B018 (renders the models)
            self._states.append(state)

    def go(self) -> None:
        pairs = zip(self._states, self._states[1:], strict=False)
        with connection.schema_editor(atomic=False) as editor:
            for operation, states in zip(self._operations, pairs, strict=True):
                operation.database_forwards("wallets", editor, *states)

    def go_back(self) -> None:
        pairs = zip(self._states[1:], self._states, strict=False)
        steps = [*zip(self._operations, pairs, strict=True)]
        with connection.schema_editor(atomic=False) as editor:
            for operation, states in reversed(steps):
                operation.database_backwards("wallets", editor, *states)


def shape() -> dict[str, Any]:
    """Return the columns, keys and constraints of all tables, and the triggers."""
    found: dict[str, Any] = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SHOW CREATE TABLE {table}")
            lines = cursor.fetchone()[1].splitlines()
            # The order tells only what was made first.
            found[table] = sorted(line.strip(" ,") for line in lines[1:-1])
        cursor.execute("SHOW TRIGGERS")
        found["triggers"] = sorted(row[:5] for row in cursor.fetchall())
    return found


@slow
@skipUnless(connection.vendor == "mysql", "other engines undo an interrupted migration")
class InterruptedTest(MigrationCase):
    """The migration of cheaper rows, killed after some of its changes…"""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(10)
        logging.disable(logging.WARNING)  # it names each change that is left out
        self.addCleanup(logging.disable, logging.NOTSET)
        self.steps = Steps("0024_cheaper_rows", "0023_callers")
        self.new = shape()
        self.steps.go_back()
        self.old = shape()

    def test_is_repeated_after_each_of_them(self) -> None:
        kills = 0
        while True:
            try:
                with killed_after(1):
                    self.steps.go()
                break
            except Killed:
                kills += 1
                self.assertLess(kills, 100, "it does not go on")
        self.assertGreater(kills, 20)
        self.assertEqual(shape(), self.new)
        self.assertEqual([*safeguards.lost(connection)], [])

    def test_makes_its_triggers_again(self) -> None:
        with killed_after(7), self.assertRaises(Killed):
            append_only.install(connection)
        append_only.install(connection)
        self.assertEqual(append_only.missing(connection), [])
        self.steps.go()

    def test_is_undone(self) -> None:
        for number in (0, 7, 22):
            with self.subTest(after=number):
                with killed_after(number), self.assertRaises(Killed):
                    self.steps.go()
                self.steps.go_back()
                self.assertEqual(shape(), self.old)
        self.steps.go()
        self.assertEqual(shape(), self.new)

    def test_is_undone_by_a_second_try_to_undo_it(self) -> None:
        for number in (1, 3, 15):
            self.steps.go()
            with self.subTest(after=number):
                with killed_after(number), self.assertRaises(Killed):
                    self.steps.go_back()
                self.steps.go_back()
                self.assertEqual(shape(), self.old)
        self.steps.go()
        self.assertEqual(shape(), self.new)
