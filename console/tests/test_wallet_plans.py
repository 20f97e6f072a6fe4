"""The list of wallets is read from an index: a bounded number of rows for each page."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any
from unittest import mock

from django.core.cache import cache
from django.db import connection

from console.queries import wallets as queries
from console.tests.base import staff
from wallets.models.wallet import Wallet
from wallets.services.reads import listing
from wallets.services.wallet import WalletService
from wallets.services.wallets.create import CreateRequest, create_many
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase
from wallets.tests.raw import execute
from wallets.tests.test_list_plans import ListPlans
from wallets.utils.caller import Caller

# So many wallets that MariaDB uses an index.
MANY = 4000
WINDOW, PAGE = 300, 50
# A page and its window. Every second wallet of that time is another tenant's.
MOST = 3 * WINDOW


class WalletPlans(ListPlans):
    """The plans of all reads of wallets. SQLite has no counts, but says how it reads."""

    pattern = r"SELECT .* FROM .wallets_wallet\b"

    def __call__(
        self, run: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if connection.vendor != "sqlite":
            return super().__call__(run, sql, params, many, context)
        if re.match(self.pattern, sql):
            with closing(context["connection"].connection.cursor()) as cursor:
                places = sql.replace("%s", "?")
                cursor.execute(f"EXPLAIN QUERY PLAN {places}", params or ())
                self.append((sql, "\n".join(str(row[-1]) for row in cursor)))
        return run(sql, params, many, context)


@marks.slow
class WalletPlansTest(CommittingTestCase):
    """There are thousands of wallets, some of a tenant; the oldest has a reference. The…"""

    def setUp(self) -> None:
        super().setUp()
        cache.clear()
        self.client.force_login(staff("oscar", "change_transaction"))
        self.named = WalletService.create(reference="the one", tenant="acme")
        for n in range(0, MANY, 100):
            caller = Caller(tenant="acme" if n % 200 else "")
            create_many([CreateRequest()] * 100, caller=caller)
        word = "TABLE" if connection.vendor == "mysql" else ""
        execute(f"ANALYZE {word} wallets_wallet")

    def assert_bounded(self, query: str) -> str:
        """Read a page; return the query of the next one."""
        plans = WalletPlans()
        with connection.execute_wrapper(plans):
            page = self.client.get(f"/console/wallets?{query}")
        self.assertLess(page.status_code, 400)
        self.assertNotEqual(plans, [])
        for sql, plan in plans:
            if connection.vendor == "sqlite":
                told = f"{sql}\n{plan}"
                self.assertNotRegex(plan, r"SCAN wallets_wallet(?! USING)", told)
                if "reference" not in query:
                    self.assertNotIn("TEMP B-TREE", plan, told)
            else:
                self.assertLessEqual(plan.most_read, MOST, f"{sql}\n{plan.text}")
        if "the+one" in query:
            self.assertContains(page, str(self.named.uuid))
        found = re.search(r'rel="next" href="\?([^"]+)"', page.content.decode())
        return found[1].replace("&amp;", "&") if found else ""

    def test_list_reads_at_most_a_window_whatever_is_asked_for(self) -> None:
        uuid = Wallet.objects.order_by("pk")[MANY // 2].uuid
        with (
            mock.patch.object(listing, "WINDOW", WINDOW),
            mock.patch.object(queries, "PAGE", PAGE),
        ):
            for query in (
                "",
                "state=closed",
                "state=active",
                "currency=EUR",
                "tenant=acme",
                "tenant=acme&state=closed&currency=EUR",
                "tenant=nobody",
                "find=the+one",
                "find=the+one&tenant=acme&state=active",
                "find=nobody",
                f"find={uuid}",
            ):
                with self.subTest(query):
                    following = self.assert_bounded(query)
                    if following:
                        self.assert_bounded(following)
