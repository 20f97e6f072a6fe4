"""The tasks of the specification: results, eager mode, and any message."""

from __future__ import annotations

from unittest import mock

from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.test import SimpleTestCase, override_settings

from wallet import celery
from wallets import tasks
from wallets.models.transaction import Transaction
from wallets.services.payouts import sweeps
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import Does
from wallets.utils.messaging import broker


class TaskTestCase(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        patch = mock.patch.object(sweeps, "get_bank", return_value=self.bank)
        patch.start()
        self.addCleanup(patch.stop)

    def woken(self, task) -> tuple[object, list[tuple[str, int]]]:
        """Return the result of the task, and the number of each drain that it woke."""
        with mock.patch.object(broker, "wake_up") as wake_up:
            result = task()
        return result, [call.args for call in wake_up.call_args_list]

    def failed(self) -> Transaction:
        row = self.due_withdrawal(10)
        self.bank.script.append(Does.REFUSE)
        tasks.process_single_withdrawal(row.pk)
        Transaction.objects.filter(pk=row.pk).update(next_attempt_at=self.now)
        return row


class TaskTest(TaskTestCase):
    def test_process_pending_withdrawals_counts_what_is_due(self):
        self.assertEqual(
            self.woken(tasks.process_pending_withdrawals), ({"dispatched": 0}, [])
        )
        for _ in range(3):
            self.due_withdrawal(10)
        result, woken = self.woken(tasks.process_pending_withdrawals)
        self.assertEqual(result, {"dispatched": 3})
        self.assertEqual(woken, [("wallets.tasks.drain_pending_withdrawals", 1)])

    def test_retry_failed_withdrawals_counts_what_is_due_again(self):
        self.failed()
        result, woken = self.woken(tasks.retry_failed_withdrawals)
        self.assertEqual(result, {"dispatched": 1})
        self.assertEqual(woken, [("wallets.tasks.drain_retryable_withdrawals", 1)])

    def test_wake_as_many_workers_as_there_are_batches_up_to_a_bound(self):
        for _ in range(9):
            self.due_withdrawal(10)
        with override_settings(WITHDRAWAL_BATCH_SIZE=2, WITHDRAWAL_MAX_WAKEUPS=4):
            _, woken = self.woken(tasks.process_pending_withdrawals)
        self.assertEqual(woken[0][1], 4)
        with override_settings(WITHDRAWAL_BATCH_SIZE=5, WITHDRAWAL_MAX_WAKEUPS=4):
            _, woken = self.woken(tasks.process_pending_withdrawals)
        self.assertEqual(woken[0][1], 2)

    def test_process_single_withdrawal_pays_and_says_how_it_ended(self):
        row = self.due_withdrawal(400)
        expected = {"transaction_id": row.pk, "status": "COMPLETED"}
        for _ in range(2):
            self.assertEqual(tasks.process_single_withdrawal(row.pk), expected)
        self.assertEqual(len(self.bank.paid), 1)

    def test_process_single_withdrawal_returns_no_status_for_an_unknown_id(self):
        for poison in (10**9, -1, 0, self.deposit(1).pk):
            result = tasks.process_single_withdrawal(poison)
            self.assertEqual(result, {"transaction_id": poison, "status": None})

    def test_process_single_withdrawal_pays_what_is_due_in_its_turn(self):
        """A client that causes many messages is not paid before others."""
        first, row = self.due_withdrawal(300), self.due_withdrawal(400)
        tasks.process_single_withdrawal(row.pk)
        self.assertEqual([payment.amount for payment in self.bank.paid], [300, 400])
        first.refresh_from_db()
        self.assertEqual(first.status, "COMPLETED")

    def test_process_single_withdrawal_tries_again_what_failed_and_is_due(self):
        row = self.failed()
        expected = {"transaction_id": row.pk, "status": "COMPLETED"}
        self.assertEqual(tasks.process_single_withdrawal(row.pk), expected)

    def test_drains_return_what_they_claimed(self):
        self.due_withdrawal(10)
        self.assertEqual(tasks.drain_pending_withdrawals(), {"claimed": 1})
        self.failed()
        self.assertEqual(tasks.drain_retryable_withdrawals(), {"claimed": 1})

    def test_resolve_unknown_withdrawals_returns_what_it_looked_into(self):
        self.assertEqual(tasks.resolve_unknown_withdrawals(), {"checked": 0})


class EagerTest(TaskTestCase):
    """With `task_always_eager` a message is a direct call."""

    def setUp(self) -> None:
        super().setUp()
        current_app.conf.task_always_eager = True
        self.addCleanup(setattr, current_app.conf, "task_always_eager", False)

    def test_returns_the_results_of_the_tasks(self):
        row = self.due_withdrawal(400)
        result = tasks.process_single_withdrawal.delay(row.pk)
        self.assertEqual(
            result.get(), {"transaction_id": row.pk, "status": "COMPLETED"}
        )
        self.assertEqual(
            tasks.process_pending_withdrawals.delay().get(), {"dispatched": 0}
        )


class InvalidMessageTest(TaskTestCase):
    """A message without a valid id…"""

    def test_changes_nothing(self):
        self.due_withdrawal(400)
        for poison in ("abc", None, [1], {"pk": 1}, 1.5, "1; DROP TABLE", 2**70):
            with self.subTest(poison=poison):
                try:
                    result = tasks.process_single_withdrawal(poison)
                except (TypeError, ValueError, OverflowError):
                    continue
                self.assertIsNone(result["status"])
        self.assertEqual(self.bank.requests, [])
        self.assert_money(self.alice, balance=1000)


class ScheduleTest(SimpleTestCase):
    def test_is_the_specifications(self):
        schedule = settings.CELERY_BEAT_SCHEDULE
        self.assertEqual(
            {
                name: entry["schedule"].seconds
                for name, entry in schedule.items()
                if name not in settings.EXTENSION_TICKS
            },
            {
                "process_pending_withdrawals": 10,
                "retry_failed_withdrawals": 60,
                "resolve_unknown_withdrawals": 10,
            },
        )
        for entry in schedule.values():
            self.assertIn(entry["task"], current_app.tasks)

    def test_has_no_message_expire_by_another_machines_clock(self):
        for entry in settings.CELERY_BEAT_SCHEDULE.values():
            self.assertNotIn("options", entry)

    def test_messages_are_json_without_results(self):
        self.assertEqual(current_app.conf.accept_content, ["json"])
        self.assertTrue(current_app.conf.task_ignore_result)


class SoftLimitTest(SimpleTestCase):
    def test_leaves_no_connection_in_the_middle_of_an_answer(self):
        """If the limit comes between two packets, no later query gets the rest."""
        with mock.patch("django.db.connections.close_all") as closed:
            celery._leave_no_connection_in_the_middle(exception=ValueError())
            closed.assert_not_called()
            celery._leave_no_connection_in_the_middle(exception=SoftTimeLimitExceeded())
            closed.assert_called_once_with()
