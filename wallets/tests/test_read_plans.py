"""Reads of a long history use an index, in its order, whatever the statistics are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import skipIf
from uuid import uuid4

from django.db import connection

from wallets.models.ledger import Movement
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.tests import marks
from wallets.tests.api import Api
from wallets.tests.base import CommittingTestCase, forget_statistics
from wallets.utils import instants

TABLES = ("wallets_wallet", "wallets_transaction", "wallets_movement")
# So many rows that MariaDB uses an index.
MANY = 6000
CSV = {"Accept": "text/csv"}
# A part of a CSV has this many rows, a page 100; no read takes the whole history.
BATCH = 1000


@dataclass(frozen=True)
class Plan:
    """The plan of a statement, as the database shows it, and its most rows read."""

    text: str
    most_read: float


def _of_postgresql(rows: list[tuple[Any, ...]]) -> Plan:
    text = "\n".join(line for (line,) in rows)
    read = re.findall(r"actual time=\S+ rows=(\d+)|Removed by \w+: (\d+)", text)
    return Plan(text, max(float(one or other) for one, other in read))


def _of_mariadb(rows: list[tuple[Any, ...]]) -> Plan:
    read = (row[9] or _uncounted(row) for row in rows)
    return Plan("\n".join(map(str, rows)), max(map(float, read)))


def _uncounted(row: tuple[Any, ...]) -> float:
    """Return what MariaDB expects to read where it does not count what it has read."""
    return float(row[8] or 0) if row[3] == "index_subquery" else 0


_EXPLAIN = {
    "postgresql": ("EXPLAIN ANALYZE", _of_postgresql),
    "mysql": ("ANALYZE", _of_mariadb),
}


class Plans(list[tuple[str, Plan]]):
    """Records the statements that read movements or transactions, with their plans."""

    pattern = r"SELECT .* FROM .wallets_(movement|transaction)\b"

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: Any,
    ) -> Any:
        if re.match(self.pattern, sql):
            explain, read = _EXPLAIN[connection.vendor]
            with context["connection"].connection.cursor() as cursor:
                cursor.execute(f"{explain} {sql}", params)
                self.append((sql, read(list(cursor.fetchall()))))
        return execute(sql, params, many, context)


@marks.slow
@skipIf(connection.vendor == "sqlite", "it counts nothing")
class ReadPlansTest(Api, CommittingTestCase):
    """A wallet has many rows, and at the last ANALYZE…"""

    def setUp(self) -> None:
        forget_statistics(self)
        super().setUp()

    def grow(self) -> None:
        for _ in range(0, MANY, 1000):
            deposit_many(
                [DepositRequest(self.alice.uuid, 1, uuid4()) for _ in range(1000)]
            )

    def reads(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Return each read of a history; for lists, of the page after the first one."""
        at = Movement.objects.filter(wallet=self.alice, sequence=MANY // 2)
        middle = instants.write(at.values_list("created_at", flat=True).get())
        for page in (
            "statement/?limit=100",
            f"statement/?limit=100&from={middle}",
            "transactions/?limit=100",
            "transactions/?limit=100&type=DEPOSIT",
            "transactions/?limit=100&status=COMPLETED",
        ):
            yield self.path(page), {}
            link = self.get(self.path(page)).headers["Link"]
            following = re.search(r'<http://[^/]+([^>]+)>; rel="next"', link)
            assert following, link
            yield following[1], {}
        yield self.path("statement/"), CSV
        yield self.path("balance/"), {}
        yield self.path(f"balance/?at={middle}"), {}
        yield self.path("balance/?at=2020-01-01T00:00:00Z"), {}

    def assert_each_reads_what_it_shows(self) -> None:
        for path, headers in self.reads():
            plans = Plans()
            with self.subTest(path, **headers):
                with connection.execute_wrapper(plans):
                    answer = self.get(path, **headers)
                    text = answer.getvalue() if answer.streaming else answer.content
                self.assertEqual(answer.status_code, 200, text)
                # `test_reads.PlanTest` tests the prepared statements.
                if connection.vendor == "mysql":
                    self.assertNotEqual(plans, [])
                for sql, plan in plans:
                    told = f"{sql}\n{plan.text}"
                    self.assertNotRegex(plan.text, "Seq Scan|Sort|filesort|'ALL'", told)
                    self.assertLessEqual(plan.most_read, BATCH, told)

    def test_the_tables_were_empty(self) -> None:
        self.grow()
        self.assert_each_reads_what_it_shows()

    def test_each_wallet_had_one_row(self) -> None:
        deposit_many(
            [
                DepositRequest(Wallet.objects.create().uuid, 1, uuid4())
                for _ in range(100)
            ]
        )
        for table in TABLES:
            with connection.cursor() as cursor:
                word = "TABLE" if connection.vendor == "mysql" else ""
                cursor.execute(f"ANALYZE {word} {table}")
        self.grow()
        self.assert_each_reads_what_it_shows()
