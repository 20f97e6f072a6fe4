"""The anchor on MariaDB and MySQL: UPDATE and INSERT in one durable transaction.

A transaction is four statements. Each is sent after the answer to the previous one, as
sysbench does and every client without a stored procedure. The load generator is the
same as for the API; it uses connections on which a driver has logged in.
"""

from __future__ import annotations

import random
import uuid
from itertools import chain, repeat
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql

from benchmarks.anchor import CLIENTS
from benchmarks.load import READ_BYTES, Load, LoadError, drive

_SCHEMA = (
    "CREATE TABLE anchor_wallet (id bigint PRIMARY KEY, balance bigint NOT NULL) "
    "ENGINE=InnoDB",
    "CREATE TABLE anchor_deposit (id bigint AUTO_INCREMENT PRIMARY KEY, "
    "wallet bigint NOT NULL, amount bigint NOT NULL, k binary(16) NOT NULL UNIQUE) "
    "ENGINE=InnoDB",
)
_UPDATE = "UPDATE anchor_wallet SET balance = balance + 1 WHERE id = {wallet}"
_INSERT = (
    "INSERT INTO anchor_deposit (wallet, amount, k) VALUES ({wallet}, 1, x'{key}')"
)
_QUERY = b"\x03"
_OK = 0
_READY_PER_SECOND = 8_000


class MysqlAnchor:
    """The anchor's tables in a database of the run, and the deposits into them."""

    name = "anchor"

    def __init__(self, url: str, *, wallets: int) -> None:
        parts = urlsplit(url)
        self._where: dict[str, Any] = {
            "host": parts.hostname or "127.0.0.1",
            "port": parts.port or 3306,
            "user": unquote(parts.username or "root"),
            "password": unquote(parts.password or ""),
            "database": parts.path.strip("/"),
            "autocommit": True,
        }
        self._wallets = wallets
        with pymysql.connect(**self._where) as connection:
            cursor = connection.cursor()
            for statement in _SCHEMA:
                cursor.execute(statement)
            rows = [(number, 0) for number in range(1, wallets + 1)]
            cursor.executemany("INSERT INTO anchor_wallet VALUES (%s, %s)", rows)

    def run(self, seconds: float) -> Load:
        """Deposit for this many seconds."""
        made = [self._transaction() for _ in range(int(_READY_PER_SECOND * seconds))]
        more = (self._transaction() for _ in repeat(None))
        clients = [_Client(self._where) for _ in range(CLIENTS)]
        return drive(clients, chain(made, more), seconds=seconds)

    def _transaction(self) -> list[bytes]:
        wallet, key = random.randint(1, self._wallets), uuid.uuid4().hex
        return [
            _packet("BEGIN"),
            _packet(_UPDATE.format(wallet=wallet)),
            _packet(_INSERT.format(wallet=wallet, key=key)),
            _packet("COMMIT"),
        ]


def _packet(statement: str) -> bytes:
    """Return a query as the protocol requires: length, packet number, kind, text."""
    content = _QUERY + statement.encode()
    return len(content).to_bytes(3, "little") + b"\0" + content


class _Client:
    """One connection, with one transaction and one statement at a time."""

    def __init__(self, where: dict[str, Any]) -> None:
        self._connection = pymysql.connect(**where)
        self.sock = self._connection._sock  # type: ignore[attr-defined]
        self._left: list[bytes] = []

    def send(self, message: list[bytes]) -> None:
        """See `Client.send`."""
        first, *self._left = message
        self.sock.sendall(first)

    def receive(self) -> bool:
        """See `Client.receive`. The answer to each statement is one OK packet."""
        data = self.sock.recv(READ_BYTES)
        if len(data) < 5 or data[4] != _OK or len(data) != 4 + data[0]:
            raise LoadError(f"not OK: {data!r}")
        if self._left:
            self.sock.sendall(self._left.pop(0))
            return False
        return True
