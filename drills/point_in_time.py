"""A PostgreSQL server of the drill's own, with point-in-time recovery."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from drills.backups import Backup, recipe
from drills.process import free_port, listens, wait_until

POSTGRESQL_PROGRAMS = Path("/usr/lib/postgresql")


class PointInTime(Backup):
    """A PostgreSQL server of its own whose write-ahead log is archived."""

    name = "point-in-time"
    programs = ("runuser",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self._until = ""

    @classmethod
    def missing(cls) -> str:
        if not _newest_programs():
            return "no programs of a PostgreSQL server here"
        return super().missing()

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def variables(self) -> dict[str, str]:
        return {
            "PATH": f"{_newest_programs()}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "DATA": str(self.folder / "data"),
            "ARCHIVE": str(self.folder / "archive"),
            "BACKUP": str(self.folder / "base"),
            "UNTIL": self._until,
            "OPTIONS": f"-c port={self.port} -c listen_addresses=127.0.0.1"
            f" -c unix_socket_directories={self.folder}",
        }

    def run(self, script: str, **options: str) -> None:
        """Run as the user that owns the server, which does not run as root."""
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")
            kept = "PATH,PGHOST,PGPORT,PGUSER,DATA,ARCHIVE,BACKUP,UNTIL,OPTIONS,SCRIPT"
            super().run(
                f'runuser -u postgres --whitelist-environment={kept} -- env SCRIPT="$SCRIPT"'
                " bash -euo pipefail -c 'eval \"$SCRIPT\"'",
                SCRIPT=script,
                **options,
            )
        else:
            super().run(script, **options)

    def create(self) -> None:
        self.run(
            'mkdir -p "$ARCHIVE" && initdb -D "$DATA" -U postgres -A trust >/dev/null'
        )
        self.run(recipe("point-in-time settings"))
        self._start()

    def _start(self) -> None:
        # It ends with this process's folder; `drop` stops it in any case.
        self.run('pg_ctl -w -D "$DATA" -l "$DATA.log" -o "$OPTIONS" start >/dev/null')
        wait_until(lambda: listens(self.port), seconds=30, what="PostgreSQL to listen")

    def save(self) -> None:
        super().save()
        time.sleep(0.2)
        moment = subprocess.run(
            ["psql", "-XAtc", "SELECT clock_timestamp()", "-d", "postgres"],
            env={**os.environ, **self.variables()},
            capture_output=True,
            text=True,
            check=True,
        )
        self._until = moment.stdout.strip()
        time.sleep(0.2)

    def restore(self) -> None:
        # Archive everything until now, also the current segment.
        self.run('psql -Xqc "SELECT pg_switch_wal()" -d postgres >/dev/null')
        time.sleep(1)
        self._stop()
        super().restore()
        self._start()
        wait_until(self._promoted, seconds=60, what="the recovery to end")

    def _promoted(self) -> bool:
        with suppress(SystemExit):
            self.run(
                'test "$(psql -XAtc "SELECT pg_is_in_recovery()" -d postgres)" = f'
            )
            return True
        return False

    def _stop(self) -> None:
        with suppress(SystemExit):
            self.run('pg_ctl -w -D "$DATA" -m fast stop >/dev/null')

    def drop(self) -> None:
        self._stop()


def _newest_programs() -> str:
    folders = [path.parent for path in POSTGRESQL_PROGRAMS.glob("*/bin/initdb")]
    return str(max(folders, key=lambda path: float(path.parent.name), default=""))
