"""Guards of the database: time limits, silent servers, types, lost safeguards.

See `drills.guard`.
"""

from __future__ import annotations

from drills.guard import MARIADB, POSTGRESQL, Guard

_POSTGRESQL = "wallets/utils/database/backends/postgresql/base.py"
_DRIVER = "wallets/utils/database/backends/postgresql/driver.py"
_MYSQL = "wallets/utils/database/backends/mysql/base.py"
_SESSION = "test_constraints.py::StrictModeTest"
_SAFEGUARDS = "wallets/services/operations/safeguards.py"

_BATCH_MYSQL = "wallets/utils/database/batch_mysql.py"
_TABLE_LOCKS = "wallets/utils/database/table_locks.py"

DATABASE_GUARDS = (
    Guard(
        "the driver reads no statement anew",
        "wallets/utils/database/prepared.py",
        "            return super().execute(sql, [values[name] for name in names], **options)\n",
        "            psycopg.Cursor(self.connection).execute(query, params)\n"
        "            return super().execute(sql, [values[name] for name in names], **options)\n",
        "test_prepared.py",
        POSTGRESQL,
    ),
    Guard(
        "a movement has the leg, the accounts and the attempt of its kind",
        "wallets/migrations/0024_cheaper_rows.py",
        '                        "hold open wallet in_flight 1",\n',
        '                        "hold open wallet in_flight 0",\n',
        "test_constraints.py::ConstraintTest",
    ),
    Guard(
        "a migration locks its tables before it changes one",
        _TABLE_LOCKS,
        "        take(schema_editor.connection, self.tables)\n",
        "        pass\n",
        "test_live_migrations.py::LiveMigrationTest",
        POSTGRESQL,
    ),
    Guard(
        "a migration has all its tables or none",
        "wallets/utils/database/transactions.py",
        "        with transaction.atomic():\n            work()\n",
        "        work()\n",
        "test_live_migrations.py::TakeTest",
        POSTGRESQL,
    ),
    Guard(
        "a migration that waits for a table is no part of a deadlock",
        _TABLE_LOCKS,
        "TRY_SECONDS = 0.5\n",
        "TRY_SECONDS = 5.0\n",
        "test_live_migrations.py::TakeTest",
        POSTGRESQL,
    ),
    Guard(
        "an update of many rows reads no other row",
        _BATCH_MYSQL,
        " FORCE INDEX (PRIMARY)",
        "",
        "test_batch.py::GuardedUpdatesLockTest",
        MARIADB,
    ),
    Guard(
        "texts of many guards are compared by their letters",
        _BATCH_MYSQL,
        "{'BINARY ' * (_type(field) == _TEXT)}",
        "",
        "test_batch.py::GuardedUpdatesTest",
        MARIADB,
    ),
    Guard(
        "limits of each transaction behind a pooler",
        "wallets/utils/database/transactions.py",
        "            connection.limit_transaction()  # type: ignore[attr-defined]\n",
        "            pass\n",
        "test_pooler.py::LimitsTest",
        POSTGRESQL,
    ),
    Guard(
        "commits are durable, whatever the database's default is",
        _POSTGRESQL,
        "    || set_config('synchronous_commit', {_DURABLE}, false)\n",
        "",
        "test_pooler.py::CommitTest",
        POSTGRESQL,
    ),
    Guard(
        "commits are durable behind a pooler, too",
        _POSTGRESQL,
        "    set_config('synchronous_commit', {_DURABLE}, true)\n",
        "    ''\n",
        "test_pooler.py::CommitTest",
        POSTGRESQL,
    ),
    Guard(
        "no transaction by one statement behind a pooler",
        "wallets/utils/database/transactions.py",
        'return not getattr(connection, "pooled", False)',
        "return True",
        "test_pooler.py::LimitsTest test_pooler.py::IsolationTest",
        POSTGRESQL,
    ),
    Guard(
        "a pooler is noticed",
        _POSTGRESQL,
        "SELECT pg_backend_pid() <> %(greeted)s, CASE",
        "SELECT pg_backend_pid() < 0 AND %(greeted)s > 0, CASE",
        "test_pooler.py::LimitsTest",
        POSTGRESQL,
    ),
    Guard(
        "nothing prepared behind a pooler",
        _POSTGRESQL,
        "            self.connection.prepare_threshold = None\n",
        "            pass\n",
        "test_pooler.py::LimitsTest test_pooler.py::WalkTest",
        POSTGRESQL,
    ),
    Guard(
        "limits of a session whatever its address says",
        _POSTGRESQL,
        "    || set_config('lock_timeout', %(lock)s, false)\n",
        "    || coalesce(%(lock)s, '')\n",
        "test_pooler.py::LimitsTest",
        POSTGRESQL,
    ),
    Guard(
        "READ COMMITTED whatever the server's default is",
        "wallet/databases.py",
        '        "isolation_level": 2,\n',
        "",
        "test_pooler.py::IsolationTest",
        POSTGRESQL,
    ),
    Guard(
        "waiting for a silent server ends",
        _DRIVER,
        "            return super().wait(gen, interval, self.silence_seconds)\n",
        "            return super().wait(gen, interval, None)\n",
        "test_silent_database.py::TimeoutTest::test_ends_with_a_closed_connection",
        POSTGRESQL,
    ),
    Guard(
        "a late answer of a silent server is not used",
        _DRIVER,
        "            self.close()\n",
        "            pass\n",
        "test_silent_database.py::TimeoutTest::test_ends_with_a_closed_connection",
        POSTGRESQL,
    ),
    Guard(
        "a dead peer is noticed by the kernel",
        "wallet/databases.py",
        '        "tcp_user_timeout": 10_000,\n',
        "",
        "test_silent_database.py::SocketTest",
        POSTGRESQL,
    ),
    Guard(
        "a silent server is not asked five times",
        "wallets/utils/database/transactions.py",
        "if failed - began >= _silence() and is_connection_lost(error):",
        "if False:",
        "test_db.py::SilenceTest",
        POSTGRESQL,
    ),
    Guard(
        "a client that has vanished holds nothing for long",
        _POSTGRESQL,
        'idle = f"{3 * self._statement_seconds * 1000:.0f}"',
        'idle = "0"',
        "test_silent_database.py::VanishedClientTest",
        POSTGRESQL,
    ),
    Guard(
        "every UUID on MariaDB",
        "wallets/utils/database/backends/mysql/features.py",
        "    has_native_uuid_field = False\n",
        "    pass\n",
        "test_uuids.py",
        MARIADB,
    ),
    Guard(
        "the driver's time-out with MariaDB",
        "wallet/databases.py",
        '        defaults |= {"read_timeout": patience, "write_timeout": patience}\n',
        "        pass\n",
        "test_settings.py::DatabaseFromEnvTest",
    ),
    Guard(
        "no long wait for a lock on MariaDB",
        _MYSQL,
        "innodb_lock_wait_timeout = %(lock)s,\n",
        "innodb_lock_wait_timeout = 50 + 0 * %(lock)s,\n",
        _SESSION,
        MARIADB,
    ),
    Guard(
        "no statement without an end on MariaDB",
        _MYSQL,
        "max_statement_time = %(statement)s,\n",
        "max_statement_time = 0 * %(statement)s,\n",
        _SESSION,
        MARIADB,
    ),
    Guard(
        "no transaction of a vanished client on MariaDB",
        _MYSQL,
        "idle_transaction_timeout = %(idle)s */",
        "idle_transaction_timeout = 0 * %(idle)s */",
        _SESSION,
        MARIADB,
    ),
    Guard(
        "missing triggers are named",
        _SAFEGUARDS,
        '        yield f"the trigger {name} is missing"\n',
        "        pass\n",
        "test_safeguards.py::LostTest",
    ),
    Guard(
        "missing constraints are named",
        _SAFEGUARDS,
        "        if there is not None and there[flag]:\n",
        "        if True:\n",
        "test_safeguards.py::LostTest",
    ),
    Guard(
        "missing foreign keys are named",
        _SAFEGUARDS,
        '            yield f"foreign key of {field.column}"\n',
        "            pass\n",
        "test_safeguards.py::LostTest",
    ),
    Guard(
        "sequences that are behind are named",
        _SAFEGUARDS,
        "    elif last < highest:\n",
        "    elif False:\n",
        "test_safeguards.py::LostTest",
        POSTGRESQL,
    ),
    Guard(
        "the recipe for sequences reads the tables first",
        "docs/production.md",
        "AS MATERIALIZED",
        "AS NOT MATERIALIZED",
        "test_safeguards.py::LostTest",
        POSTGRESQL,
    ),
    Guard(
        "columns of MariaDB's own type are named",
        _SAFEGUARDS,
        "    for column in uuid_columns.native(connection, models):\n",
        "    for column in ():\n",
        "test_safeguards.py::NativeUUIDTest",
        MARIADB,
    ),
)
