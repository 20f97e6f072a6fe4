"""Starts several callers at the same moment, each on its own connection."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection
from django.test import TestCase, TransactionTestCase

from wallets.tests.base import close_connections

# The number of races; a manual run may set more.
ROUNDS = int(os.environ.get("WALLET_RACE_ROUNDS", "100"))
PATIENCE = 60
FEW = max(5, ROUNDS // 5)

_IMPATIENT = {
    "sqlite": "PRAGMA busy_timeout = 100",
    "postgresql": "SET lock_timeout = '100ms'",
    "mysql": "SET SESSION innodb_lock_wait_timeout = 1",
}


def be_impatient(case: TestCase | TransactionTestCase) -> None:
    """Let this connection wait for a lock as shortly as its engine can."""
    with connection.cursor() as cursor:
        cursor.execute(_IMPATIENT[connection.vendor])
    case.addCleanup(connection.close)


def elsewhere(seconds: float, work: Callable[[], Any]) -> Any:
    """Do the work on another connection, for at most so many seconds."""

    def run() -> Any:
        try:
            return work()
        finally:
            close_connections()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(timeout=seconds)


def race(*works: Callable[[], Any]) -> list[Any]:
    """Call all at once; return the result of each, or its exception."""
    barrier = threading.Barrier(len(works))
    results: list[Any] = [None] * len(works)

    def run(place: int) -> None:
        try:
            barrier.wait(PATIENCE)
            results[place] = works[place]()
        except Exception as error:  # noqa: BLE001 (it is the result)
            results[place] = error
        finally:
            close_connections()

    threads = [threading.Thread(target=run, args=[n]) for n in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a racer hangs"
    return results


def rounds(
    count: int,
    prepare: Callable[[int], Any],
    runners: Sequence[Callable[[Any], Any]],
    judge: Callable[[Any, list[Any]], None],
) -> None:
    """Run many races of the same callers, each with one thread and connection.

    `prepare` returns the argument of all callers; `judge` gets it with their results.
    """
    size = len(runners)
    start, finish = threading.Barrier(size + 1), threading.Barrier(size + 1)
    matter: Any = None
    over = False
    results: list[Any] = [None] * size

    def run(place: int) -> None:
        try:
            while True:
                start.wait(PATIENCE)
                if over:
                    return
                try:
                    results[place] = runners[place](matter)
                except Exception as error:  # noqa: BLE001 (it is the result)
                    results[place] = error
                finish.wait(PATIENCE)
        finally:
            close_connections()

    threads = [threading.Thread(target=run, args=[n], daemon=True) for n in range(size)]
    for thread in threads:
        thread.start()
    try:
        for number in range(count):
            matter = prepare(number)
            start.wait(PATIENCE)
            finish.wait(PATIENCE)
            judge(matter, list(results))
    finally:
        over = True
        start.wait(PATIENCE)
        for thread in threads:
            thread.join(PATIENCE)
