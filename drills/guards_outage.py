"""Guards of a database that accepts no writes, and of migrations that are interrupted.

See `drills.guard`.
"""

from __future__ import annotations

from drills.guard import MARIADB, POSTGRESQL, Guard

_READ_ONLY = "wallets/utils/database/read_only.py"
_SCHEMA = "wallets/utils/database/backends/mysql/schema.py"
_SESSION = "test_read_only.py::ReadOnlySessionTest::test_"
_INTERRUPTED = "test_interrupted_migrations.py::InterruptedTest::test_"
_UNCHECKED = (
    "test_safeguards.py::LostTest"
    "::test_is_not_reported_while_a_waiting_migration_may_bring_it"
)

OUTAGE_GUARDS = (
    Guard(
        "a database that accepts no writes is away",
        _READ_ONLY,
        '    if getattr(error, "sqlstate", None) == _SQLSTATE:\n',
        "    if False:\n",
        f"{_SESSION}refuses_each_write_and_is_closed_so_that_the_next_is_done",
        POSTGRESQL,
    ),
    Guard(
        "a session that accepts no writes is closed",
        _READ_ONLY,
        "            self.wrapper.close_at = 0  # type: ignore[attr-defined]\n",
        "",
        f"{_SESSION}refuses_each_write_and_is_closed_so_that_the_next_is_done",
        MARIADB,
    ),
    Guard(
        "a database that accepts no writes is not ready",
        "wallets/services/operations/readiness.py",
        '"read-only" if only_reads else OK',
        "OK",
        f"{_SESSION}is_not_ready",
        POSTGRESQL,
    ),
    Guard(
        "a server of MariaDB that accepts no writes is not ready",
        _READ_ONLY,
        "SELECT @@global.read_only, @@session.",
        "SELECT 0, @@session.",
        "test_read_only.py::ReadOnlyServerTest",
        MARIADB,
    ),
    Guard(
        "a database that accepts no writes is named by the check",
        "wallets/checks.py",
        "        if is_read_only(connection):\n",
        "        if False:\n",
        f"{_SESSION}is_named_by_the_check",
        POSTGRESQL,
    ),
    Guard(
        "figures need no write",
        "wallets/services/operations/metrics.py",
        "    except (DatabaseError, InterfaceError) as error:\n",
        "    except ZeroDivisionError as error:\n",
        f"{_SESSION}keeps_no_figure_from_being_counted",
        POSTGRESQL,
    ),
    Guard(
        "a migration has no time limit in a container",
        "manage.py",
        '        os.environ["DATABASE_STATEMENT_TIMEOUT"] = "0"\n',
        '        os.environ.setdefault("DATABASE_STATEMENT_TIMEOUT", "0")\n',
        "test_settings.py::CommandTest",
    ),
    Guard(
        "an interrupted migration is repeated",
        _SCHEMA,
        "            if number not in _DONE_BEFORE and not created:\n",
        "            if True:\n",
        f"{_INTERRUPTED}is_repeated_after_each_of_them",
        MARIADB,
    ),
    Guard(
        "an interrupted migration is undone without an index too many",
        _SCHEMA,
        "        if self._has(model, constraint.name):\n",
        "        if True:\n",
        f"{_INTERRUPTED}is_undone",
        MARIADB,
    ),
    Guard(
        "an interrupted migration makes its triggers again",
        "wallets/utils/database/append_only.py",
        '    if connection.vendor == "mysql":\n        remove(connection, tables)\n',
        "",
        f"{_INTERRUPTED}makes_its_triggers_again",
        MARIADB,
    ),
    Guard(
        "the check says that it has not checked the schema",
        "wallets/management/commands/check.py",
        "    register(schema_can_be_checked, Tags.database)\n",
        "",
        _UNCHECKED,
    ),
    Guard(
        "verify_ledger says that it has not checked the schema",
        "wallets/services/ledger/ledger_audit.py",
        '        yield Finding("schema", "the database", why)\n',
        "        pass\n",
        _UNCHECKED,
    ),
    Guard(
        "a container that is told to stop ends its migration first",
        "docker-compose.yaml",
        '        trap "exit 143" TERM\n        && python manage.py wait_for_db\n',
        "        python manage.py wait_for_db\n",
        "scripts/test_repository.py::ComposeTest",
    ),
)
