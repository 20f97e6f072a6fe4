"""The test's own PgBouncer, in transaction mode, in front of the test's database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import skipUnless

from django.db import connection

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
REQUIRED = os.environ.get("WALLET_REQUIRE_SERVERS") == "1"

# If servers are required, a test fails without the program instead of skipping.
behind_pgbouncer = skipUnless(
    connection.vendor == "postgresql" and (PROGRAM or REQUIRED),
    (
        "PgBouncer is not installed"
        if connection.vendor == "postgresql"
        else "PgBouncer is PostgreSQL's"
    ),
)

_CONFIGURATION = """
[databases]
{name} = host={host} port={port} dbname={name} user={user}{password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
"""


class PgBouncer:
    """The running program."""

    def __init__(self, pool_size: int) -> None:
        ours = connection.settings_dict
        self.port = _free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="wallet-pgbouncer-"))
        self._folder.chmod(0o755)
        file = self._folder / "pgbouncer.ini"
        file.write_text(
            _CONFIGURATION.format(
                name=ours["NAME"],
                host=ours["HOST"] or "127.0.0.1",
                port=ours["PORT"] or 5432,
                user=ours["USER"] or "postgres",
                password=f" password='{ours['PASSWORD']}'" if ours["PASSWORD"] else "",
                listen=self.port,
                pool_size=pool_size,
            )
        )
        self._log = (self._folder / "log").open("wb")
        # PgBouncer refuses to run as root.
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        self._process = subprocess.Popen(
            [str(PROGRAM), *user, str(file)], stdout=self._log, stderr=self._log
        )

    def wait(self) -> None:
        """Wait until it accepts connections."""
        ends = time.monotonic() + 30
        while time.monotonic() < ends and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        said = (self._folder / "log").read_text()
        raise AssertionError(f"PgBouncer does not answer: {said}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self._log.close()
        shutil.rmtree(self._folder)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def pgbouncer(pool_size: int = 4) -> Iterator[PgBouncer]:
    """Start a PgBouncer for the block."""
    pooler = PgBouncer(pool_size)
    try:
        pooler.wait()
        yield pooler
    finally:
        pooler.close()


@contextmanager
def at_port(port: int, **options: Any) -> Iterator[None]:
    """Send all threads' connections to the test's database to this port."""
    ours = connection.settings_dict
    before = {**ours, "OPTIONS": dict(ours["OPTIONS"])}
    connection.close()
    ours["HOST"], ours["PORT"] = "127.0.0.1", str(port)
    ours["OPTIONS"] = {**ours["OPTIONS"], **options}
    try:
        yield
    finally:
        connection.close()
        ours.update(before)
