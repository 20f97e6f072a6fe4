"""The bank's decisions: one SQLite file that survives restarts and ``kill -9``.

The file has the table of decisions, whose rows with ``paid = 1`` are the ground truth
of every fault test; and the settings of ``/faults``, so that they are the same for all
threads and processes of a server. This module does no HTTP. A decision is committed
before it is returned.
"""

import json
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

from faults import Faults

# "once" is 1 if the bank pays a reference once, and NULL if it does not (bare mode, a
# double booking): for UNIQUE every NULL is different.
SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY,
    reference TEXT,
    once INTEGER CHECK (once = 1),
    wallet_uuid TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    paid INTEGER NOT NULL CHECK (paid IN (0, 1)),
    decided_at TEXT NOT NULL,
    CONSTRAINT one_decision_per_reference UNIQUE (reference, once)
);
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    settings TEXT NOT NULL,
    drawn INTEGER NOT NULL,
    server TEXT NOT NULL
);
"""

# One statement, so one transaction: it is done completely or not at all. The second
# order with the same reference inserts no row.
INSERT_DECISION = """
INSERT INTO decisions (reference, once, wallet_uuid, amount, paid, decided_at)
SELECT ?, ?, ?, ?, ?, ?
WHERE ? OR NOT EXISTS (SELECT 1 FROM decisions WHERE reference = ?)
ON CONFLICT (reference, once) DO NOTHING
"""

# A repeated order books a late booking now.
BOOK_NOW = "UPDATE decisions SET decided_at = ? WHERE reference = ? AND decided_at > ?"

FOR_EVER = "9999"  # As text it is greater than every time of a decision.
LOCK_SECONDS = 30


@dataclass(frozen=True)
class Order:
    """A client's order to pay."""

    wallet_uuid: str
    amount: int
    reference: str | None


@dataclass(frozen=True)
class Decision:
    """The bank's decision about an order; a repeated order has the first decision."""

    order: Order
    paid: bool


class Store:
    """The data file. The threads share one connection, under a lock.

    SQLite has one writer at a time. A thread waits microseconds for a lock of Python;
    at SQLite's own lock it would sleep and poll.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    def start(self, *, server: str, explicit: dict[str, Any]) -> None:
        """Create or open the file, and apply ``explicit`` settings once for each run.

        ``server`` is the id of the server's run: a second worker process, or one that
        is started again after a crash, must not undo later changes by HTTP.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._connection.executescript(SCHEMA)
        with self._transaction() as connection:
            row = connection.execute("SELECT * FROM faults").fetchone()
            _, settings, drawn, last_server = row or (1, None, 0, None)
            if last_server != server:
                current = _parse_faults(settings) if settings else Faults()
                settings = _dump_faults(current.changed(explicit))
                drawn = 0 if "seed" in explicit else drawn
                connection.execute(
                    "INSERT OR REPLACE INTO faults VALUES (1, ?, ?, ?)",
                    (settings, drawn, server),
                )
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another (in a forked child)."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def decide(
        self, order: Order, *, paid: bool, bare: bool, delay: float, copies: int
    ) -> Decision:
        """Record the decision, or return the earlier one about this reference.

        With ``delay`` the payment is booked only that many seconds from now.
        """
        decided_at = _now(delay)
        with self._lock:
            if self._insert(order, paid, decided_at, bare=bare):
                for _ in range(copies - 1):
                    self._insert(order, paid, decided_at, bare=True)
                return Decision(order, paid)
            # After the answer "success" the payment must be on the list.
            self._execute(BOOK_NOW, (decided_at, order.reference, decided_at))
            decision = self._find(order.reference, booked_by=FOR_EVER)
            if decision is None:
                raise RuntimeError("the row that refused the insert has gone")
            return decision

    def take_over(self, paid: list[tuple[Order, datetime]]) -> int:
        """Record payments with their times, all or none; return how many are new."""
        with self._transaction():
            return sum(
                self._insert(order, True, _written(moment), bare=False)
                for order, moment in paid
            )

    def find(self, reference: str, *, age: float = 0.0) -> Decision | None:
        """Return the decision that was booked at least ``age`` seconds ago, or None."""
        with self._lock:
            return self._find(reference, booked_by=_now(-age))

    def payments(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Return the real payments, oldest first; of a period if one is given."""
        last = _now() if until is None else min(_now(), _written(until))
        with self._lock:
            rows = self._execute(
                "SELECT reference, wallet_uuid, amount, decided_at FROM decisions"
                " WHERE paid AND decided_at BETWEEN ? AND ? ORDER BY decided_at, id",
                ("" if since is None else _written(since), last),
            ).fetchall()
        names = ("reference", "wallet_uuid", "amount", "paid_at")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def faults(self) -> Faults:
        """Return the current settings."""
        with self._lock:
            return self._read_faults()

    def change_faults(self, changes: dict[str, Any]) -> Faults:
        """Change settings; raises ``ValueError`` and changes none if one is bad."""
        with self._transaction() as connection:
            faults = self._read_faults().changed(changes)
            connection.execute(
                "UPDATE faults SET settings = ?", (_dump_faults(faults),)
            )
            if "seed" in changes:
                connection.execute("UPDATE faults SET drawn = 0")
        return faults

    def take_faults(self) -> tuple[Faults, float]:
        """Return the settings for the next payment order, and its random number.

        ``times``, and with a seed the number of draws, are counted in the file. So the
        fault hits exactly ``times`` orders, and a run can be repeated, with any number
        of threads and processes.
        """
        faults = self.faults()
        if faults.times is None and faults.seed is None:
            return faults, _draw()
        with self._transaction() as connection:
            faults = self._read_faults()
            (drawn,) = connection.execute("SELECT drawn FROM faults").fetchone()
            connection.execute(
                "UPDATE faults SET settings = ?, drawn = drawn + 1",
                (_dump_faults(_one_less(faults)),),
            )
        return faults, _draw(None if faults.seed is None else f"{faults.seed}/{drawn}")

    def _insert(self, order: Order, paid: bool, decided_at: str, *, bare: bool) -> bool:
        row = (order.wallet_uuid, order.amount, paid, decided_at)
        once = None if bare else 1
        cursor = self._execute(
            INSERT_DECISION, (order.reference, once, *row, bare, order.reference)
        )
        return cursor.rowcount == 1

    def _find(self, reference: str | None, *, booked_by: str) -> Decision | None:
        # In bare mode a reference has several rows; if one is paid, it counts as paid.
        row = self._execute(
            "SELECT wallet_uuid, amount, paid FROM decisions"
            " WHERE reference = ? AND decided_at <= ? ORDER BY paid DESC, id LIMIT 1",
            (reference, booked_by),
        ).fetchone()
        if row is None:
            return None
        return Decision(Order(row[0], row[1], reference), bool(row[2]))

    def _read_faults(self) -> Faults:
        (settings,) = self._execute("SELECT settings FROM faults").fetchone()
        return _parse_faults(settings)

    def _execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, values)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._opened is None:
            # Threads may share the connection, because every use is under the lock.
            self._opened = sqlite3.connect(
                self._path,
                timeout=LOCK_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            _switch_to_wal(self._opened)
            # The operating system has a commit before COMMIT returns, so it survives
            # kill -9 of this process. Only a power cut could lose the last commits,
            # and no test cuts the power. FULL would cost an fsync for each payment.
            self._opened.execute("PRAGMA synchronous = NORMAL")
        return self._opened

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # If another worker switches a new file at the same time, SQLite refuses at once,
    # whatever the time-out: a wait while both hold a lock could be a deadlock.
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _now(delay: float = 0.0) -> str:
    return _written(datetime.now(timezone.utc) + timedelta(seconds=delay))


def _written(moment: datetime) -> str:
    # Always UTC with six decimals and +00:00, so that texts sort like times.
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _draw(key: str | None = None) -> float:
    # Random numbers of a simulation, not of a secret.
    return random.Random(key).random() if key else random.random()  # noqa: S311


def _one_less(faults: Faults) -> Faults:
    if faults.times is None:
        return faults
    if faults.times == 1:
        return replace(faults, mode="normal", times=None)
    return replace(faults, times=faults.times - 1)


def _dump_faults(faults: Faults) -> str:
    return json.dumps(asdict(faults))


@lru_cache(maxsize=8)
def _parse_faults(settings: str) -> Faults:
    return Faults(**json.loads(settings))
