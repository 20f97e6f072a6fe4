"""Claims of webhooks read what waits, and not what was delivered in the last month."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any
from unittest import skipIf

from django.db import connection

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.services.webhooks import claim
from events.tests.webhooks import Webhooks
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase
from wallets.tests.test_read_plans import _EXPLAIN, Plan
from wallets.utils.database.transactions import database_now

DELIVERED, WAITING = 3000, 50
# What waits, each with its look for an earlier one, and what an engine reads beside it.
MOST = 4 * WAITING


class DeliveryPlans(list[tuple[str, Plan]]):
    """Records the statements that read deliveries, with their plans."""

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: Any,
    ) -> Any:
        if re.match(r"SELECT .* FROM .events_delivery\b.* ORDER BY", sql):
            explain, read = _EXPLAIN[connection.vendor]
            with context["connection"].connection.cursor() as cursor:
                cursor.execute(f"{explain} {sql}", params)
                self.append((sql, read(list(cursor.fetchall()))))
        return execute(sql, params, many, context)


@marks.slow
@skipIf(connection.vendor == "sqlite", "it counts nothing")
class ClaimPlanTest(Webhooks, CommittingTestCase):
    """One wallet has had many events, and some wait."""

    def test_reads_what_waits_however_much_was_delivered(self) -> None:
        endpoint = self.endpoint().endpoint
        self.insert(endpoint, 1, DELIVERED, open=None, outcome="delivered")
        self.insert(endpoint, DELIVERED + 1, WAITING, open=True)
        with connection.cursor() as cursor:
            word = "TABLE" if connection.vendor == "mysql" else ""
            cursor.execute(f"ANALYZE {word} events_delivery")
        plans = DeliveryPlans()
        with connection.execute_wrapper(plans):
            self.assertEqual(len(claim.claim(endpoint.pk, room=8, plans=False)), 1)
        self.assertNotEqual(plans, [])
        for sql, plan in plans:
            self.assertLessEqual(plan.most_read, MOST, f"{sql}\n{plan.text}")

    def insert(self, endpoint: Endpoint, first: int, count: int, **more: Any) -> None:
        now = database_now()
        closed_at = None if more["open"] else now
        Delivery.objects.bulk_create(
            Delivery(
                endpoint=endpoint,
                sequence=sequence,
                event_id=str(uuid.uuid4()),
                event_type="deposit.completed",
                position=sequence,
                lane=str(self.alice.uuid),
                body="{}",
                due_at=now,
                created_at=now,
                updated_at=now,
                closed_at=closed_at,
                **more,
            )
            for sequence in range(first, first + count)
        )
