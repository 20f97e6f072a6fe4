"""The lists of everything read a bounded number of rows, whatever they look for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from unittest import mock, skipIf
from uuid import uuid4

from django.db import connection

from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.reads import listing
from wallets.services.wallets.create import CreateRequest, create_many
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders, marks
from wallets.tests.api import Api
from wallets.tests.base import CommittingTestCase
from wallets.tests.test_read_plans import MANY, Plans
from wallets.utils import instants
from wallets.utils.words import Words

WINDOW = 300
# The rows of one moment: the page after them, and the window, count from the first one.
BATCH = 100
# A page, its window, and what an engine reads beside it.
MOST = 2 * WINDOW


class ListPlans(Plans):
    """Records the statements of the lists."""

    pattern = r"SELECT .* FROM .wallets_(transaction|wallet)\b"


@marks.slow
@skipIf(connection.vendor == "sqlite", "it counts nothing")
class ListPlansTest(Api, CommittingTestCase):
    """There are many rows, and of those that are asked for one in the middle."""

    def setUp(self) -> None:
        super().setUp()
        for n in range(0, MANY, BATCH):
            middle = n == MANY // 2
            named = CreateRequest("the one" if middle else None)
            create_many([*[CreateRequest()] * (BATCH - 1), named])
            words = Words(reference="the one" if middle else "")
            alice = self.alice.uuid
            plain = [DepositRequest(alice, 1, uuid4()) for _ in range(BATCH - 1)]
            deposit_many([*plain, DepositRequest(alice, 2, uuid4(), words)])
            if middle:
                paid = builders.due_withdrawal(self.alice, 5, due=self.after(5))
                self.paid = WithdrawalService.execute(
                    paid.pk, bank=self.bank, now=self.after(5)
                )

    def reads(self) -> Iterator[str]:
        middle = instants.write(self.alice.transactions.order_by("pk")[3000].created_at)
        reference = self.paid.attempts.get().reference
        for conditions in (
            "limit=100",
            "limit=100&type=DEPOSIT",
            "limit=100&amount_from=5",
            "limit=100&status=FAILED",
            "limit=100&scheduled_from=2020-01-01T00:00:00Z",
            f"limit=100&created_to={middle}",
            f"limit=100&created_from={middle}&amount_from=5",
            "limit=100&reference=the%20one",
            f"limit=100&bank_reference={reference}",
        ):
            yield f"/transactions/?{conditions}"
        for conditions in (
            "limit=100",
            "limit=100&state=closed",
            "limit=100&balance_from=1",
            "limit=100&currency=EUR",
            "limit=100&reference=the%20one",
            "limit=100&created_from=2020-01-01T00:00:00Z",
        ):
            yield f"/wallets/?{conditions}"

    def assert_bounded(self, path: str) -> str:
        """Read a page; return the path of the next one."""
        plans = ListPlans()
        with connection.execute_wrapper(plans):
            answer = self.get(path)
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertNotEqual(plans, [])
        for sql, plan in plans:
            self.assertLessEqual(plan.most_read, MOST, f"{sql}\n{plan.text}")
        link = re.search(r'<http://[^/]+([^>]+)>; rel="next"', answer.headers["Link"])
        return link[1] if link else ""

    def test_read_at_most_a_window_whatever_is_asked_for(self) -> None:
        with mock.patch.object(listing, "WINDOW", WINDOW):
            for first in self.reads():
                with self.subTest(first):
                    path = self.assert_bounded(first)
                    if path:
                        self.assert_bounded(path)
