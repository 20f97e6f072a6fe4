"""Looking up names with the system's resolver, which may hang for a minute.

A look-up cannot be stopped: whoever gives up leaves its thread behind. So there is one
unfinished look-up for each name, which all who ask for it share, and a limit for all.
`Turns` keeps the threads that wait for a look-up from one caller.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from events.errors import ResolverBusy
from wallets.utils import clock

# The most look-ups of a process that are not finished.
MOST_LOOK_UPS = 128
# A look-up that takes longer is slow: nobody waits for its end to begin another one.
QUICK_SECONDS = 0.3

Ask = Callable[[str, None], Sequence[tuple[Any, ...]]]


class Names:
    """Look-ups in threads, at most `size` unfinished. Thread-safe."""

    def __init__(self, size: int, ask: Ask = socket.getaddrinfo) -> None:
        self._size = size
        self._ask = ask
        self._lock = threading.Lock()
        self._unfinished: dict[str, Future[list[str]]] = {}
        self._pid = os.getpid()

    async def find(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name, in the resolver's order. `port` is not used.

        :raises OSError: it has none, or the resolver does not answer.
        :raises ResolverBusy: too many look-ups are not finished.
        """
        return await asyncio.wrap_future(self._look_up(host))

    def _look_up(self, host: str) -> Future[list[str]]:
        with self._lock:
            if self._pid != os.getpid():  # no thread survives a fork
                self._pid, self._unfinished = os.getpid(), {}
            known = self._unfinished.get(host)
            if known is not None:
                return known
            if len(self._unfinished) >= self._size:
                raise ResolverBusy("too many names are being looked up; try again")
            future: Future[list[str]] = Future()
            future.set_running_or_notify_cancel()  # nobody cancels it for the others
            # A daemon, so that no process waits for it when it ends.
            thread = threading.Thread(
                target=self._run, args=[host, future], name=f"name {host}", daemon=True
            )
            thread.start()
            self._unfinished[host] = future
        return future

    def _run(self, host: str, future: Future[list[str]]) -> None:
        try:
            found = [str(info[4][0]) for info in self._ask(host, None)]
        except Exception as error:  # noqa: BLE001 (it is the result)
            self._finish(host, future)
            future.set_exception(error)
        else:
            self._finish(host, future)
            future.set_result(list(dict.fromkeys(found)))

    def _finish(self, host: str, future: Future[list[str]]) -> None:
        with self._lock:
            if self._unfinished.get(host) is future:
                del self._unfinished[host]


# The look-ups of this process.
NAMES = Names(MOST_LOOK_UPS)


class Turns:
    """Who waits for a name in a thread: each caller for one at a time. Thread-safe.

    A name server answers its names as slowly as its owner likes. Without turns, a few
    slow names would keep all threads that wait, and so all other callers.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # When each caller has begun to wait (`clock.elapsed`).
        self._began: dict[str, float] = {}

    @contextmanager
    def of(self, whom: str) -> Iterator[None]:
        """Have the turn of a caller in the `with` block. Waits for quick look-ups only.

        :raises ResolverBusy: the caller has the turn elsewhere, for a slow name.
        """
        with self._changed:
            began = self._began.get(whom, clock.elapsed())
            left = max(0.0, began + QUICK_SECONDS - clock.elapsed())
            if not self._changed.wait_for(lambda: whom not in self._began, left):
                raise ResolverBusy(
                    "another name of yours is being looked up; try again"
                )
            self._began[whom] = clock.elapsed()
        try:
            yield
        finally:
            with self._changed:
                del self._began[whom]
                self._changed.notify_all()


# The callers of this process.
TURNS = Turns()
