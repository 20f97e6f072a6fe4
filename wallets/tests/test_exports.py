"""Long answers: few at a time, and not for ever."""

from __future__ import annotations

import gc
from typing import Any
from unittest import mock
from uuid import uuid4

from django.core.signals import request_finished
from django.db import close_old_connections
from django.test import SimpleTestCase

from wallets.services import statement
from wallets.services.deposit import DepositRequest, deposit_many
from wallets.tests.api import Api
from wallets.tests.base import WalletTestCase
from wallets.views import exports
from wallets.views import statement as statement_view
from wallets.views.exports import Exports, ExportTookTooLong


class ExportsTest(SimpleTestCase):
    """Where one may be written at a time…"""

    def setUp(self) -> None:
        super().setUp()
        # As Django's own test client does: the end of an answer closes no test's connection.
        request_finished.disconnect(close_old_connections)
        self.addCleanup(request_finished.connect, close_old_connections)
        self.exports = Exports(1)

    def answer(self, *, is_short: bool = False) -> Any:
        return self.exports.answer(iter(["a", "b"]), is_short=is_short)

    def assert_refused(self) -> None:
        refused = self.answer()
        self.assertEqual(refused.status_code, 503)
        self.assertEqual(refused.headers["Retry-After"], "5")

    def test_another_one_is_told_to_come_again(self) -> None:
        first = self.answer()
        self.assert_refused()
        self.assertEqual(first.getvalue(), b"ab")
        first.close()
        self.assertEqual(self.answer().getvalue(), b"ab")

    def test_a_place_is_free_again_whoever_reads(self) -> None:
        self.answer().close()  # not read at all
        self.answer()  # nor closed
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
