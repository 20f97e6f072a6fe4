"""The keys in the memory of a process: their age, threads, forks, races."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from unittest import SkipTest, mock

from django.db import OperationalError, connection, transaction

from access.errors import KeysUnknown
from access.models.api_key import ApiKey
from access.services import keys, live, usage
from access.services.live import LiveKeys
from access.tests.access import ACTOR, Keys
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections
from wallets.utils import clock


class AgeTest(Keys, WalletTestCase):
    def test_of_five_seconds_is_the_limit(self) -> None:
        made = self.key()
        with self.assertNumQueries(0):
            self.let_pass(5)
            self.assertIsNotNone(self.live.find(made.key.digest))
        with self.assertNumQueries(1 + (connection.vendor != "sqlite")):
            self.let_pass(0.1)
            self.assertIsNotNone(self.live.find(made.key.digest))

    def test_counts_from_before_the_reading(self) -> None:
        """What is revoked during a slow reading may be missing from the copy."""
        made = self.key()

        def read_slowly(at: float) -> live.Copy:
            found = live.Copy(at, self.live._copy.keys)
            self.let_pass(4)
            return found

        with mock.patch.object(live, "read", read_slowly):
            self.live.refresh()
        self.let_pass(1.1)
        with self.assertNumQueries(1 + (connection.vendor != "sqlite")):
            self.live.find(made.key.digest)

    def test_is_not_made_younger_by_a_reading_that_fails(self) -> None:
        made = self.key()
        self.let_pass(5.1)
        away = mock.patch.object(live, "read", side_effect=OperationalError)
        for _ in range(2):
            with away, self.assertRaises(OperationalError):
                self.live.find(made.key.digest)

    def test_of_a_newer_copy_is_not_undone_by_an_older_one(self) -> None:
        made = self.key()
        at = self.live.elapsed()
        old = live.read(at)
        keys.revoke("shop", reason="x", actor=ACTOR)
        self.let_pass(1)
        self.live.refresh()
        with mock.patch.object(live, "read", return_value=old):
            self.live.refresh()
        self.assertIsNone(self.live.find(made.key.digest))

    def test_is_no_matter_of_a_wall_clock(self) -> None:
        """A key ends by the database's clock, read once; then elapsed time counts."""
        made = self.key(expires_at=self.after(100))
        with mock.patch("time.time", return_value=0.0):
            self.assertIsNotNone(self.live.find(made.key.digest))
        self.let_pass(4)
        self.assertIsNotNone(self.live.find(made.key.digest))


class OneReadsTest(Keys, WalletTestCase):
    def test_while_the_others_wait_only_so_long(self) -> None:
        made = self.key()
        self.let_pass(5.1)
        with (
            self.live._reading,  # another thread's reading hangs
            mock.patch.object(live, "PATIENCE", 0.01),
            self.assertRaises(KeysUnknown),
        ):
            self.live.find(made.key.digest)


class BackgroundTest(CommittingTestCase):
    """The thread of a process, by the real clock."""

    def setUp(self) -> None:
        super().setUp()
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            raise SkipTest("another thread has no connection to a database in memory")
        self.live = LiveKeys()
        self.addCleanup(self.live.stop)

    def wait_until(self, works: bool, digest: str) -> float:
        """Return the seconds until the key works, or does not."""
        began = clock.elapsed()
        while (self.live.find(digest) is not None) is not works:
            assert clock.elapsed() - began < 30
            threading.Event().wait(0.01)
        return clock.elapsed() - began

    def test_takes_new_keys_and_drops_revoked_ones(self) -> None:
        self.live.start()
        key = keys.create("shop", keys.Wanted(["*"]), actor=ACTOR).key
        self.wait_until(True, key.digest)
        keys.revoke("shop", reason="x", actor=ACTOR)
        # The limit is that of the copy's age, also on a machine that is busy.
        self.assertLessEqual(self.wait_until(False, key.digest), live.STALE + 1)

    def test_goes_on_after_the_database_was_away(self) -> None:
        key = keys.create("shop", keys.Wanted(["*"]), actor=ACTOR).key
        failed = threading.Event()

        def fail(at: float) -> live.Copy:
            failed.set()
            raise OperationalError

        with mock.patch.object(live, "read", fail):
            self.live._begin()
            self.assertTrue(failed.wait(30))
        self.wait_until(True, key.digest)

    def test_stays_fresh_while_the_use_of_keys_cannot_be_noted(self) -> None:
        key = keys.create("shop", keys.Wanted(["*"]), actor=ACTOR).key
        waiting, ending = threading.Event(), threading.Event()

        def wait(used: Collection[int]) -> set[int]:
            waiting.set()
            ending.wait(60)
            return set(used)

        with (
            mock.patch.object(live, "USAGE_EVERY", 0.0),
            mock.patch.object(live, "REFRESH", 0.01),
            mock.patch.object(live.usage, "note", wait),
        ):
            self.live.start()
            try:
                self.live.find(key.digest)
                self.assertTrue(waiting.wait(30))
                for _ in range(3):
                    self.assert_read_again()
            finally:
                ending.set()
                self.live.stop()
        self.assertEqual(self.live._used, {key.pk})

    def assert_read_again(self) -> None:
        began = clock.elapsed()
        before = self.live._copy.at
        while self.live._copy.at == before:
            assert clock.elapsed() - began < 30, "the copy is not read again"
            threading.Event().wait(0.01)

    def test_notes_the_use_beside_the_reading(self) -> None:
        key = keys.create("shop", keys.Wanted(["*"]), actor=ACTOR).key
        with mock.patch.object(live, "USAGE_EVERY", 0.0):
            self.live.start()
            self.live.find(key.digest)
            began = clock.elapsed()
            while ApiKey.objects.get(pk=key.pk).last_used_at is None:
                assert clock.elapsed() - began < 30
                threading.Event().wait(0.01)

    def test_ends_with_its_connection_when_it_is_stopped(self) -> None:
        self.live.start()
        thread = self.live._thread
        self.live.stop()
        self.assertFalse(thread.is_alive())

    def test_refuses_a_revoked_key_to_all_threads_that_use_it(self) -> None:
        key = keys.create("shop", keys.Wanted(["*"]), actor=ACTOR).key
        self.live.start()
        taken: list[float] = []
        ending = threading.Event()

        def use() -> None:
            try:
                while not ending.wait(0.002):
                    if self.live.find(key.digest):
                        taken.append(clock.elapsed())
            finally:
                close_connections()

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        self.wait_until(True, key.digest)
        keys.revoke("shop", reason="x", actor=ACTOR)
        revoked = clock.elapsed()
        self.wait_until(False, key.digest)
        ending.set()
        for thread in threads:
            thread.join()
        self.assertTrue(taken)
        self.assertLessEqual(max(taken) - revoked, live.STALE)


class LockedTest(CommittingTestCase):
    """A key whose row somebody has locked…"""

    def test_is_noted_when_it_is_free_and_the_others_at_once(self) -> None:
        if not connection.features.has_select_for_update_skip_locked:
            raise SkipTest("SQLite locks no rows")
        held, free = (
            keys.create(name, keys.Wanted(["*"]), actor=ACTOR).key
            for name in ("held", "free")
        )
        left: list[set[int]] = []

        def note() -> None:
            try:
                left.append(usage.note([held.pk, free.pk]))
            finally:
                close_connections()

        with transaction.atomic():
            ApiKey.objects.select_for_update().get(pk=held.pk)
            thread = threading.Thread(target=note)
            thread.start()
            # The row is locked until this is over.
            thread.join(60)
        self.assertEqual(left, [{held.pk}])
        self.assertEqual(usage.note([held.pk]), set())
        for key in (held, free):
            key.refresh_from_db()
            self.assertIsNotNone(key.last_used_at)


class ForkTest(Keys, WalletTestCase):
    def test_leaves_the_child_without_a_copy(self) -> None:
        self.key()
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(writing, repr(live.LIVE._copy.at).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        self.assertEqual(os.read(reading, 100), b"-inf")
        os.close(reading)
        os.close(writing)
