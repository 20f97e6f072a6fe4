"""Exports: the number of long answers at a time, and their time, are bounded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any
from unittest import mock
from uuid import uuid4

from django.core.signals import request_finished
from django.db import close_old_connections
from django.test import SimpleTestCase

from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.reads import statement
from wallets.tests import marks
from wallets.tests.api import Api
from wallets.tests.base import WalletTestCase
from wallets.tests.clocks import StandingClock
from wallets.views import statement as statement_view
from wallets.views.http import exports
from wallets.views.http.exports import Exports, ExportTookTooLong


class ExportsTest(SimpleTestCase):
    """With one place for an export…"""

    def setUp(self) -> None:
        super().setUp()
        # Like Django's test client: the end of an answer keeps the test's connection.
        request_finished.disconnect(close_old_connections)
        self.addCleanup(request_finished.connect, close_old_connections)
        self.exports = Exports(1)

    def answer(self, *, is_short: bool = False) -> Any:
        return self.exports.answer(iter(["a", "b"]), is_short=is_short)

    def assert_refused(self) -> None:
        refused = self.answer()
        self.assertEqual(refused.status_code, 503)
        self.assertEqual(refused.headers["Retry-After"], "5")

    def test_another_one_is_refused_with_a_time_to_retry(self) -> None:
        first = self.answer()
        self.assert_refused()
        self.assertEqual(first.getvalue(), b"ab")
        first.close()
        self.assertEqual(self.answer().getvalue(), b"ab")

    @marks.slow
    def test_a_place_becomes_free_however_an_answer_ends(self) -> None:
        self.answer().close()  # is not read
        self.answer()  # is not closed, either
        gc.collect()
        half = self.answer()
        next(iter(half))
        half.close()
        half.close()
        left = self.answer()
        self.assertEqual(left.status_code, 200)
        self.assert_refused()

    def test_a_short_one_needs_no_place(self) -> None:
        first = self.answer()
        self.assertEqual(self.answer(is_short=True).content, b"ab")
        first.close()

    def test_breaks_off_after_its_time(self) -> None:
        with mock.patch.object(exports, "EXPORT_SECONDS", -1):
            answer = self.answer()
        with self.assertRaises(ExportTookTooLong):
            answer.getvalue()


class SlowReaderTest(SimpleTestCase):
    """With two places, both taken by slow readers…"""

    def setUp(self) -> None:
        super().setUp()
        request_finished.disconnect(close_old_connections)
        self.addCleanup(request_finished.connect, close_old_connections)
        self.time = self.enterContext(StandingClock())
        self.exports = Exports(2)
        self.slow = [self.answer(), self.answer()]
        self.readers = [iter(answer) for answer in self.slow]

    def answer(self) -> Any:
        parts = ("x" * 1000 for _ in range(10**6))
        return self.exports.answer(parts, is_short=False)

    def read(self, seconds: float, parts: int) -> None:
        """Let each reader read this many parts, evenly over this time."""
        for _ in range(parts):
            for reader in self.readers:
                next(reader)
            self.time.go_on(seconds / parts)

    def strangers(self) -> int:
        return self.answer().status_code

    def test_a_new_client_gets_the_place_of_a_slow_reader(self) -> None:
        self.read(exports.SLOW_SECONDS, 4)
        self.assertEqual(self.strangers(), 503)
        self.read(1, 1)
        stranger = self.answer()
        self.assertEqual(stranger.status_code, 200)
        with self.assertRaises(ExportTookTooLong):
            self.read(1, 1)
        next(iter(stranger))

    def test_bytes_in_the_sockets_do_not_count_as_read(self) -> None:
        self.read(0.001, 10_000)
        self.time.go_on(exports.SLOW_SECONDS + 1)
        self.assertEqual(self.strangers(), 200)

    def test_a_new_client_waits_for_fast_readers(self) -> None:
        whole = int(2 * exports.SLOW_SECONDS * exports.LEAST_RATE / 1000)
        self.read(2 * exports.SLOW_SECONDS, whole + 100)
        self.assertEqual(self.strangers(), 503)

    def test_slow_parts_do_not_count_against_their_reader(self) -> None:
        def made_slowly() -> Iterator[str]:
            while True:
                self.time.go_on(exports.SLOW_SECONDS)
                yield "x"

        for answer in self.slow:
            answer.close()
        slow = [self.exports.answer(made_slowly(), is_short=False) for _ in "ab"]
        for answer in slow:
            next(iter(answer))
        self.assertEqual(self.strangers(), 503)

    def test_a_slow_reader_keeps_a_place_that_no_client_needs(self) -> None:
        self.read(exports.EXPORT_SECONDS - 1, 4)
        self.read(0, 1)

    def test_at_most_twice_as_many_answers_as_places_have_threads(self) -> None:
        """A reader that reads nothing keeps its thread, even without its place."""
        self.time.go_on(2 * exports.SLOW_SECONDS)
        kept = [self.answer(), self.answer()]
        self.assertEqual([one.status_code for one in kept], [200, 200])
        self.time.go_on(2 * exports.SLOW_SECONDS)
        self.assertEqual(self.strangers(), 503)
        self.slow[0].close()
        kept.append(self.answer())
        self.assertEqual(kept[-1].status_code, 200)


class StatementTest(Api, WalletTestCase):
    def test_is_short_within_one_batch_and_long_beyond(self) -> None:
        deposit_many([DepositRequest(self.alice.uuid, 1, uuid4()) for _ in range(3)])
        path = self.path("statement/")
        whole = self.get(path, Accept="text/csv")
        self.assertFalse(whole.streaming)
        with (
            mock.patch.object(statement, "BATCH", 2),
            mock.patch.object(statement_view, "BATCH", 2),
        ):
            parts = self.get(path, Accept="text/csv")
            self.assertTrue(parts.streaming)
            self.assertEqual(parts.getvalue(), whole.content)
