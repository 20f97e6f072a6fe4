"""The anchor: the rate at which PostgreSQL alone makes minimal deposits.

A minimal deposit is one prepared statement: it changes a balance and inserts a row with
a unique key, without HTTP, ledger or checks. The API's rates are shares of the anchor's
rate, measured on the same machine in the same run.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from benchmarks.load import Load

CLIENTS = 16

_SCHEMA = """
DROP SCHEMA IF EXISTS anchor CASCADE;
CREATE SCHEMA anchor;
CREATE TABLE anchor.wallet (id bigint PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE anchor.deposit (
    id bigserial PRIMARY KEY, wallet bigint NOT NULL, amount bigint NOT NULL,
    key uuid NOT NULL UNIQUE
);
INSERT INTO anchor.wallet SELECT n, 0 FROM generate_series(1, {wallets}) n;
VACUUM ANALYZE anchor.wallet;
"""
_SCRIPT = """
\\set id random(1, {wallets})
WITH credited AS (UPDATE anchor.wallet SET balance = balance + 1 WHERE id = :id)
INSERT INTO anchor.deposit (wallet, amount, key) VALUES (:id, 1, gen_random_uuid());
"""


def find_pgbench() -> str:
    """Return the path of pgbench; "" if it is not installed."""
    found = shutil.which("pgbench")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    return found or (str(installed[-1]) if installed else "")


class Anchor:
    """pgbench on a database of the run."""

    name = "pgbench"

    def __init__(self, url: str, folder: Path, *, wallets: int) -> None:
        self._url = url
        self._folder = folder
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in _SCHEMA.format(wallets=wallets).split(";\n"):
                if statement.strip():
                    connection.execute(statement.encode())
        (folder / "anchor.sql").write_text(_SCRIPT.format(wallets=wallets))

    def run(self, seconds: float) -> Load:
        """Deposit for this many seconds."""
        parts = urlsplit(self._url)
        command = [
            *(find_pgbench(), "--no-vacuum", "--protocol=prepared"),
            *("--file", "anchor.sql", "--client", str(CLIENTS), "--jobs", "2"),
            *("--time", str(max(1, round(seconds)))),
            # Files with the latency, in microseconds, of a tenth of the transactions.
            *("--log", "--sampling-rate", "0.1", "--log-prefix", "anchor"),
            *(
                "--host",
                parts.hostname or "127.0.0.1",
                "--port",
                str(parts.port or 5432),
            ),
            *("--username", parts.username or "postgres", parts.path.strip("/")),
        ]
        done = subprocess.run(
            command, cwd=self._folder, check=True, capture_output=True, text=True
        )
        load = Load(seconds=1.0)
        for line in done.stdout.splitlines():
            if line.startswith("tps = "):
                rate = float(line.split()[2])
            if line.startswith("number of transactions actually processed"):
                load.done = int(line.split(": ")[1].split("/")[0])
        load.seconds = load.done / rate
        for log in self._folder.glob("anchor.[0-9]*"):
            lines = log.read_text().splitlines()
            load.latencies += [int(line.split()[2]) / 1e6 for line in lines]
            log.unlink()
        return load
