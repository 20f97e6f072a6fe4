"""What is asked of deliveries reads what waits, not what was delivered in a month."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock, skipIf

from django.db import connection

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.services.webhooks import claim, health, history, repeat
from events.services.webhooks.claim import MAX_LATER
from events.tests.webhooks import Webhooks
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase
from wallets.tests.test_read_plans import Plans
from wallets.utils.database.transactions import database_now

DELIVERED, WAITING, BLOCKED = 3000, 50, 3000
# What waits, each with its look for an earlier one, and what an engine reads beside it.
MOST = 4 * WAITING


class DeliveryPlans(Plans):
    """Records the statements that read deliveries, with their plans."""

    pattern = r"(?s)\s*(SELECT|WITH)\b.*\bevents_delivery\b"


@marks.slow
@skipIf(connection.vendor == "sqlite", "it counts nothing")
class DeliveryPlanTest(Webhooks, CommittingTestCase):
    """One wallet has had many events, and some wait. What was delivered is not read…"""

    def setUp(self) -> None:
        super().setUp()
        self.hook = self.endpoint().endpoint
        self.insert(self.hook, 1, DELIVERED, open=None, outcome="delivered")
        self.insert(self.hook, DELIVERED + 1, WAITING, open=True)
        last = DELIVERED + WAITING
        Endpoint.objects.filter(pk=self.hook.pk).update(next_sequence=last + 1)
        with connection.cursor() as cursor:
            word = "TABLE" if connection.vendor == "mysql" else ""
            cursor.execute(f"ANALYZE {word} events_delivery")

    def plans_of(self, work: Callable[[], Any]) -> Any:
        """Return what the work returns; its plans must be good."""
        plans = DeliveryPlans()
        with connection.execute_wrapper(plans):
            result = work()
        self.assertNotEqual(plans, [])
        for sql, plan in plans:
            self.assertLessEqual(plan.most_read, MOST, f"{sql}\n{plan.text}")
        return result

    def test_by_a_claim(self) -> None:
        claimed = self.plans_of(lambda: claim.claim(self.hook.pk, room=8, plans=False))
        self.assertEqual(len(claimed), 1)

    def test_by_the_question_which_webhooks_have_work(self) -> None:
        """A courier asks it several times a second."""
        found = self.plans_of(lambda: claim.endpoints_with_work(database_now()))
        self.assertEqual(found, [self.hook.pk])
        later = database_now() + timedelta(hours=1)
        Delivery.objects.filter(open=True).update(due_at=later)
        found = self.plans_of(lambda: claim.endpoints_with_work(database_now()))
        self.assertEqual(found, [])

    def test_and_no_webhook_is_left_out_where_several_questions_are_asked(self) -> None:
        other = self.endpoint("http://127.0.0.1:9/other").endpoint
        self.insert(other, 1, 1, open=True)
        with mock.patch.object(claim, "MOST_IDS", 1):
            found = claim.endpoints_with_work(database_now())
        self.assertEqual(found, [self.hook.pk, other.pk])

    def test_by_a_test_event(self) -> None:
        self.plans_of(lambda: repeat.send_test(self.hook.uuid, actor="oscar"))

    def test_by_the_metrics(self) -> None:
        found = self.plans_of(lambda: health.look(database_now()))
        self.assertEqual(found.waiting, WAITING)

    def block(self, count: int) -> None:
        """Let the first event fail, with so many more of its wallet behind it."""
        last = DELIVERED + WAITING
        self.insert(self.hook, last + 1, count, open=True)
        Endpoint.objects.filter(pk=self.hook.pk).update(next_sequence=last + count + 1)
        failed = Delivery.objects.filter(sequence=DELIVERED + 1)
        failed.update(due_at=database_now() + timedelta(hours=1), failures=1)
        self.insert(self.hook, last + count + 1, 1, open=True, lane=str(self.bob.uuid))
        Endpoint.objects.filter(pk=self.hook.pk).update(next_sequence=last + count + 2)
        with connection.cursor() as cursor:
            word = "TABLE" if connection.vendor == "mysql" else ""
            cursor.execute(f"ANALYZE {word} events_delivery")

    def test_and_what_waits_behind_a_failed_event_is_not_read_either(self) -> None:
        """It may be all of a wallet's events of days, and each look reads it again."""
        self.block(BLOCKED)
        found = self.plans_of(lambda: claim.endpoints_with_work(database_now()))
        self.assertEqual(found, [self.hook.pk])
        claimed = self.plans_of(lambda: claim.claim(self.hook.pk, room=8, plans=False))
        self.assertEqual([one.delivery.lane for one in claimed], [str(self.bob.uuid)])
        self.assertEqual(claimed[0].later, ())
        found = self.plans_of(lambda: claim.claim(self.hook.pk, room=8, plans=False))
        self.assertEqual(found, [])

    def test_and_not_much_of_it_when_it_is_due_again(self) -> None:
        self.block(BLOCKED)
        Delivery.objects.filter(sequence=DELIVERED + 1).update(due_at=database_now())
        claimed = self.plans_of(lambda: claim.claim(self.hook.pk, room=8, plans=False))
        self.assertEqual([len(one.later) for one in claimed], [MAX_LATER // 2, 0])

    def test_and_a_page_reads_only_the_first_of_what_waits(self) -> None:
        self.block(BLOCKED)
        asked = history.PageRequest(self.hook.uuid, None, WAITING)
        (page,) = self.plans_of(lambda: history.pages([asked]))
        waits_for = [one.waits_for for one in page]
        self.assertEqual(waits_for, [None, *[DELIVERED + 1] * (WAITING - 1)])

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
                body="{}",
                due_at=now,
                created_at=now,
                updated_at=now,
                closed_at=closed_at,
                **{"lane": str(self.alice.uuid)} | more,
            )
            for sequence in range(first, first + count)
        )
