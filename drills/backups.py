"""Back up and restore a database by the recipes of docs/production.md, word for word.

A kind of backup knows how to make its database and the variables of the recipes, and
nothing of their commands.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from drills import settings
from drills.process import ROOT

PRODUCTION = ROOT / "docs" / "production.md"
RECIPE_SECONDS = 120


def recipe(name: str) -> str:
    """Return the commands of the document under `<!-- recipe: name -->`."""
    text = PRODUCTION.read_text(encoding="utf-8")
    found = re.search(
        rf"<!-- recipe: {re.escape(name)} -->\n\n((?:    .*\n|\n)+)", text
    )
    if found is None:
        raise SystemExit(f"docs/production.md has no recipe {name!r}")
    lines = [line.removeprefix("    ") for line in found[1].splitlines()]
    return "\n".join(lines)


class Backup:
    """One kind of backup: its own database, and how to save and restore it."""

    name = ""
    programs: tuple[str, ...] = ()
    password = "only-for-the-drill"  # noqa: S105 (of a user of this drill)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be tried here; empty if it can."""
        absent = [program for program in cls.programs if not shutil.which(program)]
        return f"no {', '.join(absent)} here" if absent else ""

    @property
    def url(self) -> str:
        """The DATABASE_URL of the service."""
        raise AssertionError("each kind has one")

    def variables(self) -> dict[str, str]:
        """The variables of the recipes."""
        raise AssertionError("each kind has some")

    def create(self) -> None:
        """Make an empty database."""

    def save(self) -> None:
        """Back it up, while it is used."""
        self.run(recipe(f"{self.name} backup"))

    def restore(self) -> None:
        """Restore the backup in place of the database. No process may use it."""
        self.run(recipe(f"{self.name} restore"))

    def drop(self) -> None:
        """Remove everything."""

    def run(self, script: str, **options: str) -> None:
        """Run a script as a reader of the recipe would.

        :raises SystemExit: with its output, if it fails.
        """
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={**os.environ, **self.variables(), **options},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RECIPE_SECONDS,
        )
        if done.returncode:
            raise SystemExit(f"{self.name}: {script}\n{done.stdout}")


class SqliteFile(Backup):
    """The file, with its write-ahead log."""

    name = "sqlite"

    @property
    def path(self) -> Path:
        return self.folder / "wallet.sqlite3"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def variables(self) -> dict[str, str]:
        return {"DB": str(self.path), "BACKUP": str(self.folder / "backup.sqlite3")}


class PostgresDump(Backup):
    """`pg_dump` and `pg_restore` of one database on a running server."""

    name = "pg_dump"
    programs = ("pg_dump", "pg_restore", "createdb", "dropdb", "psql")
    # The service's role, which is no superuser.
    database = owner = f"wallet_restore_{os.getpid()}"

    @classmethod
    def missing(cls) -> str:
        if "postgresql" not in settings.answering():
            return "no PostgreSQL answers here"
        return super().missing()

    @property
    def url(self) -> str:
        server = urlsplit(settings.SERVERS["postgresql"])
        address = (
            f"{self.owner}:{self.password}@{server.hostname}:{server.port or 5432}"
        )
        return urlunsplit(server._replace(netloc=address, path=f"/{self.database}"))

    def variables(self) -> dict[str, str]:
        server = urlsplit(settings.SERVERS["postgresql"])
        return {
            "PGHOST": server.hostname or "",
            "PGPORT": str(server.port or 5432),
            "PGUSER": server.username or "",
            "PGPASSWORD": server.password or "",
            "DB": self.database,
            "OWNER": self.owner,
            "BACKUP": str(self.folder / "backup.dump"),
        }

    def create(self) -> None:
        self.run(
            'dropdb --if-exists "$DB" && dropuser --if-exists "$OWNER"'
            f" && psql -Xqc \"CREATE ROLE $OWNER LOGIN PASSWORD '{self.password}'\" postgres"
            ' && createdb --owner "$OWNER" "$DB"'
        )

    def restore(self) -> None:
        """Restore, and lose the sequences, as a restore of the rows alone does."""
        super().restore()
        sequence = "pg_get_serial_sequence('wallets_transaction', 'id')"
        self.run(f'psql -Xqc "SELECT setval({sequence}, 1, false)" "$DB"')
        command = f'"{sys.executable}" "{ROOT}/manage.py" verify_ledger'
        self.run(
            f'({command} || true) | grep "wallets_transaction_id_seq is behind"',
            DATABASE_URL=self.url,
        )
        self.run(recipe("sequences"))

    def drop(self) -> None:
        self.run('dropdb --if-exists --force "$DB" && dropuser --if-exists "$OWNER"')


class MariaDump(Backup):
    """`mariadb-dump` of one database, restored by a user without DEFINER rights."""

    name = "mariadb-dump"
    programs = ("mariadb", "mariadb-dump")
    database = f"wallet_restore_{os.getpid()}"

    @classmethod
    def missing(cls) -> str:
        if "mariadb" not in settings.answering():
            return "no MariaDB answers here"
        return super().missing()

    @property
    def url(self) -> str:
        server = urlsplit(settings.SERVERS["mariadb"])
        query = "ssl_disabled=true"
        return urlunsplit(server._replace(path=f"/{self.database}", query=query))

    def variables(self) -> dict[str, str]:
        return {
            "DB": self.database,
            "BACKUP": str(self.folder / "backup.sql"),
            "HOME": str(self.folder),
        }

    def create(self) -> None:
        server = urlsplit(settings.SERVERS["mariadb"])
        self._log_in(server.username or "root", server.password or "")
        self.run('mariadb -e "DROP DATABASE IF EXISTS $DB; CREATE DATABASE $DB"')
        user = f"'{self.database}'@'%'"
        self.run(
            f"mariadb -e \"CREATE OR REPLACE USER {user} IDENTIFIED BY '{self.password}';"
            f' GRANT ALL ON $DB.* TO {user}"'
        )

    def _log_in(self, user: str, password: str) -> None:
        server = urlsplit(settings.SERVERS["mariadb"])
        (self.folder / ".my.cnf").write_text(
            f"[client]\nhost={server.hostname}\nport={server.port}\nuser={user}\n"
            f"password={password}\n"
        )

    def restore(self) -> None:
        self._log_in(self.database, self.password)
        try:
            super().restore()
        finally:
            server = urlsplit(settings.SERVERS["mariadb"])
            self._log_in(server.username or "root", server.password or "")

    def drop(self) -> None:
        self.run(
            f"mariadb -e \"DROP DATABASE IF EXISTS $DB; DROP USER IF EXISTS '{self.database}'@'%'\""
        )
