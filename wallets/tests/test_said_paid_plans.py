"""What alarms say to be paid is left out by an index, on every engine."""

from __future__ import annotations

from datetime import timedelta
from unittest import skipIf

from django.db import connection

from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.services.operations import payout_health
from wallets.services.payouts.claiming import find_due
from wallets.services.payouts.drain import Drain
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, forget_statistics
from wallets.tests.test_read_plans import MANY, Plans

HELD = 50
# The rows that are held and a batch, and what an engine reads beside them.
MOST = 300


@marks.slow
@skipIf(connection.vendor == "sqlite", "it counts nothing")
class SaidPaidPlansTest(CommittingTestCase):
    """Many withdrawals are scheduled, many alarms are closed, and a few are open…"""

    books_must_be_right = False  # its withdrawals have no history

    def setUp(self) -> None:
        forget_statistics(self)
        super().setUp()
        self.insert(HELD, "due")
        self.insert(MANY, "later", scheduled_for=self.after(90_000))
        alarms = Alarm.objects.filter(detail="later")
        alarms.update(acknowledged_at=self.now, acknowledged_by="oscar")

    def insert(self, count: int, detail: str, **columns: object) -> None:
        """Insert withdrawals, each with an alarm that says that it is paid."""
        due = {"scheduled_for": self.now - timedelta(hours=1), **columns}
        Transaction.objects.bulk_create(
            Transaction(
                wallet=self.alice,
                transaction_type="WITHDRAWAL",
                amount=1,
                description=detail,
                **due,
            )
            for _ in range(count)
        )
        rows = Transaction.objects.filter(description=detail)
        Alarm.objects.bulk_create(
            Alarm(
                kind=Alarm.Kind.UNKNOWN_PAYMENT,
                subject=f"withdrawal {pk}",
                transaction_id=pk,
                detail=detail,
            )
            for pk in rows.values_list("pk", flat=True)
        )

    def assert_bounded(self) -> None:
        plans = Plans()
        with connection.execute_wrapper(plans):
            Drain(find_due, bank=self.bank, seconds=1).run()
            payout_health.look(self.now)
        self.assertNotEqual(plans, [])
        for sql, plan in plans:
            self.assertLessEqual(plan.most_read, MOST, f"{sql}\n{plan.text}")

    def test_are_all_that_a_sweep_reads_before_statistics_are_taken(self) -> None:
        self.assert_bounded()

    def test_are_all_that_a_sweep_reads(self) -> None:
        with connection.cursor() as cursor:
            for model in (Transaction, Alarm):
                table = "TABLE" if connection.vendor == "mysql" else ""
                cursor.execute(f"ANALYZE {table} {model._meta.db_table}")
        self.assert_bounded()
