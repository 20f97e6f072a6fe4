"""The keys that work now, in the memory of each process.

Note [Age of the copy]. A thread reads all working keys every REFRESH seconds. A copy
holds what was committed before its reading began, so its age counts from then, in
elapsed time of this process: no clocks of two machines are compared. A copy that is
older than STALE is not used: a revoked key is refused everywhere STALE seconds after
its revocation, also while the database is away. When a key expires is compared with the
database's clock once, at the reading; then the elapsed time counts.

When keys were used is written by a thread of its own: what waits for a lock or for a
slow server must not let the copy grow old.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from limits import RateLimitItem

from access.errors import KeysUnknown
from access.models.api_key import ApiKey
from access.services import usage
from access.utils.rates import Rates, per_minute
from access.utils.scopes import EVERYTHING
from wallets.utils import clock
from wallets.utils.caller import Caller
from wallets.utils.database.transactions import database_now

logger = logging.getLogger(__name__)

# Seconds.
REFRESH = 1.5
STALE = 5.0
# How long a process that starts, and a thread of Django, wait for a reading.
PATIENCE = 5.0
# The least time between two attempts while the database is away.
TROUBLED = 0.5
USAGE_EVERY = 60.0


class LiveKey(NamedTuple):
    """A key that works. `ends`: on the clock of elapsed time."""

    pk: int
    caller: Caller
    scopes: frozenset[str]
    limit: RateLimitItem
    ends: float

    def may(self, scope: str) -> bool:
        """Whether it has this scope. "" is no scope: every key may."""
        return not scope or scope in self.scopes or EVERYTHING in self.scopes


@dataclass(frozen=True)
class Copy:
    """The working keys by digest; what was committed before `at` is in it."""

    at: float = -math.inf
    keys: Mapping[str, LiveKey] = field(default_factory=dict)


def read(at: float) -> Copy:
    """Return the keys that work. One reading of the clock, one query. Reads only.

    `at` is the elapsed time before the call.
    """
    now = database_now()
    found = {}
    for key in ApiKey.objects.filter(revoked_at=None):
        left = math.inf
        if key.expires_at is not None:
            left = (key.expires_at - now).total_seconds()
        if left > 0:
            found[key.digest] = LiveKey(
                key.pk,
                Caller(key.name, key.tenant),
                frozenset(key.scopes),
                per_minute(key.rate or settings.API_KEY_RATE),
                at + left,
            )
    return Copy(at, found)


class LiveKeys:
    """The copy of one process. Threads may share it; a forked child reads its own."""

    def __init__(
        self,
        elapsed: Callable[[], float] = clock.elapsed,
        *,
        in_background: bool = True,
    ) -> None:
        self.elapsed = elapsed
        self._in_background = in_background
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.rates = Rates(self.elapsed)
        self._copy = Copy()
        self._reading = threading.Lock()
        self._beginning = threading.Lock()
        self._thread: threading.Thread | None = None
        self._teller: threading.Thread | None = None
        self._wanted = threading.Event()
        self._was_read = threading.Event()
        self._ended = threading.Event()
        self._used: set[int] = set()
        self._used_told_at = self.elapsed()

    def find(self, digest: str) -> LiveKey | None:
        """Return the key with this digest, if it works; note that it was used.

        In a thread with an event loop it neither waits nor uses the database.

        :raises KeysUnknown: the copy is too old.
        :raises DatabaseError, InterfaceError: so it is, and cannot be read again.
        """
        now = self.elapsed()
        copy = self._copy
        if now - copy.at > STALE:
            copy = self._again()
        key = copy.keys.get(digest)
        if key is None or now >= key.ends:
            return None
        self._used.add(key.pk)
        return key

    def start(self) -> None:
        """Begin to read in the background, and wait for the first copy for a while."""
        self._begin()
        self._was_read.wait(PATIENCE)

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._wanted.set()
        for thread in (self._thread, self._teller):
            if thread is not None:
                thread.join()

    def refresh(self) -> None:
        """Read the keys now. Opens no transaction.

        :raises DatabaseError, InterfaceError: the database is away.
        """
        found = read(self.elapsed())
        if found.at >= self._copy.at:
            self._copy = found
        self.rates.counters.forget_ended()
        self._was_read.set()

    def tell_usage(self) -> None:
        """Write which keys were used since the last time. Opens its own transaction."""
        used, self._used = self._used, set()
        self._used_told_at = self.elapsed()
        late = used
        try:
            late = usage.note(used)
        finally:
            self._used |= late

    def _again(self) -> Copy:
        self._begin()
        if _is_on_event_loop():
            self._wanted.set()
            raise KeysUnknown
        # One thread reads; the others wait for it, but not for a silent server.
        if not self._reading.acquire(timeout=PATIENCE):
            raise KeysUnknown
        try:
            if self.elapsed() - self._copy.at > STALE:
                self.refresh()
        finally:
            self._reading.release()
        return self._copy

    def _begin(self) -> None:
        if not self._in_background:
            return
        with self._beginning:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="keys", daemon=True
                )
                self._thread.start()

    def _tell_usage_beside(self) -> None:
        """Tell the usage once in a while, in another thread, if none does so now."""
        due = self.elapsed() - self._used_told_at >= USAGE_EVERY
        if self._used and due and not (self._teller and self._teller.is_alive()):
            self._teller = threading.Thread(
                target=self._tell, name="use of keys", daemon=True
            )
            self._teller.start()

    def _tell(self) -> None:
        try:
            self.tell_usage()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("use of keys not noted: %s", type(error).__name__)
        except Exception:
            logger.exception("use of keys not noted")
        finally:
            connections.close_all()

    def _run(self) -> None:
        is_away = False
        while not self._ended.is_set():
            close_old_connections()
            try:
                self.refresh()
                self._tell_usage_beside()
            except (DatabaseError, InterfaceError) as error:
                if not is_away:
                    logger.error("keys cannot be read: %s", type(error).__name__)
                is_away = True
                close_old_connections()
                self._ended.wait(TROUBLED)
            except Exception:
                logger.exception("keys cannot be read")
                self._ended.wait(TROUBLED)
            else:
                if is_away:
                    logger.info("keys are read again")
                is_away = False
            self._wanted.wait(REFRESH)
            self._wanted.clear()
        connections.close_all()


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


LIVE = LiveKeys()
# A child has neither the thread nor, perhaps, free locks.
os.register_at_fork(after_in_child=lambda: LIVE._begin_anew())
