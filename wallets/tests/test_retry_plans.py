"""A claim of retries reads what waits for a retry, not the history of all wallets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest import skipUnless

from django.db import connection

from wallets.models.transaction import Transaction
from wallets.services.payouts.claiming import find_retryable
from wallets.services.payouts.drain import Drain
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase
from wallets.tests.test_read_plans import MANY

LATER = 100
# The rows that wait are read once or twice, and their wallets and alarms.
MOST = 10 * LATER


@marks.slow
@skipUnless(connection.vendor == "mysql", "others have an index of retries alone")
class RetryPlansTest(CommittingTestCase):
    """Of many rows a few wait for a retry, none is due, and MariaDB chooses…"""

    books_must_be_right = False  # no movement belongs to these deposits

    def setUp(self) -> None:
        super().setUp()
        self.insert(MANY, "DEPOSIT", status="COMPLETED", executed_at=self.now)
        times = {"scheduled_for": self.now, "next_attempt_at": self.after(600)}
        self.insert(LATER, "WITHDRAWAL", status="FAILED", **times)

    def insert(self, count: int, kind: str, **columns: object) -> None:
        Transaction.objects.bulk_create(
            Transaction(wallet=self.alice, transaction_type=kind, amount=1, **columns)
            for _ in range(count)
        )

    def rows_read(self, index: str) -> int:
        """Sweep with this index for the claims; return how many rows it has read."""
        claims: list[str] = []

        def force(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            if re.match("SELECT .*FOR UPDATE", sql):
                table = "FROM `wallets_transaction`"
                sql = sql.replace(table, f"{table} FORCE INDEX ({index})", 1)
                claims.append(sql)
            return execute(sql, *rest)

        with connection.cursor() as cursor:
            cursor.execute("FLUSH STATUS")
            with connection.execute_wrapper(force):
                Drain(find_retryable, bank=self.bank, seconds=1).run()
            cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
            self.assertEqual(len(claims), 1)
            return sum(int(count) for _, count in cursor.fetchall())

    def test_the_index_of_their_times_and_reads_no_row_without_one(self) -> None:
        self.assertLess(self.rows_read("transaction_to_retry"), MOST)

    def test_the_index_of_their_states_and_reads_no_other_state(self) -> None:
        self.assertLess(self.rows_read("transaction_next"), MOST)
