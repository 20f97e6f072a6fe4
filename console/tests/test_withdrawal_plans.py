"""The console and the metrics read withdrawals from an index, in its order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from unittest import skipIf

from django.core.cache import cache
from django.db import connection

from console.queries import listing, overview
from console.queries.listing import Cursor, Filters
from console.tests.base import ConsoleTestCase
from wallets.models.transaction import Transaction
from wallets.services.operations import metrics, review
from wallets.tests.marks import slow
from wallets.tests.raw import execute

EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}
# As the engines write that they read a whole table, or sort.
WHOLE = {
    "sqlite": r"SCAN wallets_transaction(?! USING)",
    "postgresql": r"Seq Scan on wallets_transaction",
}
SORT = {"sqlite": "TEMP B-TREE FOR ORDER", "postgresql": "Sort"}
INDEX = "transaction_(of_withdrawals|that_waits|to_pay)"
MANY = 2000

Plan = tuple[str, str]  # a statement, and how it is executed


class Plans(list[Plan]):
    """Records the plans of all reads of transactions."""

    def __call__(
        self,
        run: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        if re.match(r'SELECT .* FROM (\(SELECT .* FROM )?"wallets_transaction"', sql):
            with closing(context["connection"].connection.cursor()) as cursor:
                places = sql.replace("%s", "?") if self.is_sqlite else sql
                cursor.execute(f"{EXPLAIN[connection.vendor]} {places}", params or ())
                plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
            self.append((sql, plan))
        return run(sql, params, many, context)

    is_sqlite = connection.vendor == "sqlite"


@slow
@skipIf(connection.vendor == "mysql", "it has no partial indexes")
class WithdrawalPlansTest(ConsoleTestCase):
    """There are thousands of deposits, and of withdrawals in each status. The…"""

    # These rows are no history of a service.
    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()
        rows = [
            self.a_row(n, status, waits=waits)
            for status, waits in (
                *((status, False) for status in Transaction.Status.values),
                ("PENDING", True),
                ("FAILED", True),
            )
            for n in range(MANY // 10)
        ]
        deposits = [self.a_row(n, "") for n in range(MANY)]
        Transaction.objects.bulk_create([*deposits, *rows])
        execute("ANALYZE")

    def a_row(self, n: int, status: str, *, waits: bool = False) -> Transaction:
        when = self.now - timedelta(minutes=n)
        return Transaction(
            wallet=self.alice if n % 2 else self.bob,
            transaction_type="WITHDRAWAL" if status else "DEPOSIT",
            amount=1,
            status=status or "COMPLETED",
            scheduled_for=when if status else None,
            executed_at=when,
            waits_for_wallet=waits,
        )

    def of(self, read: Callable[[], Any]) -> Iterator[Plan]:
        """Return the plans of what is read; none of them reads the whole table."""
        plans = Plans()
        with connection.execute_wrapper(plans):
            read()
        self.assertNotEqual(plans, [])
        for sql, plan in plans:
            told = f"{sql}\n{plan}"
            self.assertNotRegex(plan, WHOLE[connection.vendor], told)
            yield sql, plan

    def test_list_reads_a_page_in_order(self) -> None:
        if connection.vendor == "postgresql":
            # It would sort a few rows: it shall only if no index has the order.
            execute("SET LOCAL enable_sort = off")
        middle = Cursor(self.after(-60 * MANY // 20), 1)
        span = {"since": self.after(-9999), "until": self.after(-99)}
        for filters in (
            *(Filters(status=status) for status in Transaction.Status.values),
            Filters(status="PROCESSING", needs_review=True),
            Filters(status="FAILED", **span),
            Filters(**span),
        ):
            for after in (None, middle):
                page = lambda: listing.page(filters, after)  # noqa: B023, E731
                with self.subTest(filters=filters, after=after):
                    for sql, plan in self.of(page):
                        told = f"{sql}\n{plan}"
                        self.assertRegex(plan, INDEX, told)
                        self.assertNotRegex(plan, SORT[connection.vendor], told)

    def test_figures_are_counted_from_an_index(self) -> None:
        cache.clear()
        for read in (overview.overview, metrics.figures):
            self.assertGreater(len([*self.of(read)]), 5)
        for _, plan in self.of(lambda: list(review.waiting())):
            self.assertIn("transaction_of_withdrawals", plan)
