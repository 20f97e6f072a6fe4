"""Wake-ups: without a broker, requests are answered and withdrawals are paid, too."""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timedelta
from unittest import mock

from celery import current_app
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone

from wallets.models.transaction import Transaction
from wallets.services.payouts import dispatch, sweeps
from wallets.services.payouts.claiming import find_due
from wallets.services.payouts.drain import Drain
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders, marks
from wallets.tests.base import CommittingTestCase, WalletTestCase
from wallets.tests.brokers import RedisBehindProxy, publishing_to
from wallets.tests.races import race
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import broker
from wallets.utils.messaging.beat import PublishingScheduler

# An answer takes about a second, with or without a broker; a busy machine gets much
# more, and a call that hangs would hang for ever. `test_broker` shows that publishing
# waits for no step.
ANSWER_SECONDS = 30
PATIENCE = 60


class HandOverTest(WalletTestCase):
    """Which wake-ups are published, and when."""

    def woken(self, when: datetime) -> list[str]:
        with mock.patch.object(broker, "wake_up") as wake_up:
            dispatch.hand_over(when, now=self.now)
        return [call.args[0] for call in wake_up.call_args_list]

    def test_wakes_a_drain_for_what_is_due_before_the_next_tick(self) -> None:
        self.assertEqual(self.woken(self.after(3)), [dispatch.DRAIN_PENDING])

    def test_leaves_what_is_later_than_the_next_tick_to_that_tick(self) -> None:
        self.assertEqual(
            self.woken(self.after(settings.WITHDRAWAL_DUE_INTERVAL + 1)), []
        )

    def test_wakes_a_drain_of_retries_for_a_retry(self) -> None:
        with mock.patch.object(broker, "wake_up") as wake_up:
            dispatch.hand_over_retry()
        wake_up.assert_called_once_with(dispatch.DRAIN_RETRYABLE)


@override_settings(WITHDRAWAL_DUE_INTERVAL=2 * PATIENCE)
@marks.slow
class SchedulingWithoutBrokerTest(CommittingTestCase):
    """The test's own Redis server is down, frozen or out of reach."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = RedisBehindProxy()
        self.addCleanup(self.redis.close)
        context = publishing_to(self.redis.url)
        context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        self.deposit(1000)
        Client().get("/healthz")  # the first request of a process imports the code

    def schedule(self) -> None:
        """Schedule a withdrawal over HTTP that is due within the current interval."""
        due = timezone.now() + timedelta(seconds=PATIENCE)
        began = time.monotonic()
        answer = Client().post(
            f"/wallets/{self.alice.uuid}/withdraw",
            {"amount": 10, "scheduled_for": due.isoformat()},
            content_type="application/json",
            headers={"Idempotency-Key": str(uuid.uuid4())},
        )
        self.assertEqual(answer.status_code, 201, answer.content)
        self.assertLess(time.monotonic() - began, ANSWER_SECONDS)

    def assert_all_are_paid_once(self, count: int) -> None:
        """Check that the next sweep pays all withdrawals once they are due."""

        def later() -> datetime:
            return database_now() + timedelta(seconds=PATIENCE)

        Drain(find_due, bank=self.bank, seconds=PATIENCE, now=later).run()
        self.assertEqual(len(self.bank.paid), count)
        self.assertEqual(len(set(self.bank.paid_references())), count)
        unpaid = Transaction.objects.exclude(status=Transaction.Status.COMPLETED)
        self.assertFalse(unpaid.exists())

    def check(self) -> None:
        """Check that the first and later requests are answered, and are paid."""
        for _ in range(3):
            self.schedule()
        self.assertTrue(broker.flush(60))
        self.assert_all_are_paid_once(3)

    def test_answers_in_time_while_the_broker_is_down(self) -> None:
        self.redis.server.kill()
        self.check()

    def test_answers_in_time_while_the_broker_is_frozen(self) -> None:
        self.redis.server.freeze()
        self.check()

    def test_answers_in_time_while_the_broker_is_out_of_reach(self) -> None:
        self.redis.proxy.black_hole()
        self.check()

    def test_answers_in_time_when_an_open_connection_falls_silent(self) -> None:
        self.schedule()
        broker.flush(60)
        self.redis.proxy.black_hole()
        for _ in range(2):
            self.schedule()
        self.assert_all_are_paid_once(3)

    @override_settings(WITHDRAWAL_BATCH_SIZE=20)
    def test_pays_everything_once_after_a_flush_of_a_thousand_messages(self) -> None:
        for _ in range(50):
            self.due_withdrawal(10)
        # On a busy machine a message may be sent again after a time-out; both arrive.
        with (
            mock.patch.object(broker, "TIMEOUT_SECONDS", 30),
            mock.patch.object(broker, "MAX_QUEUED", 1000),
        ):
            broker.wake_up(dispatch.DRAIN_PENDING, 1000)
            self.assertTrue(broker.flush(60))
        self.assertEqual(self.redis.waiting(), 1000)
        self.redis.server.flush()
        self.assert_all_are_paid_once(50)


class BeatTest(CommittingTestCase):
    """Two Beats, ten ticks at once, or none for an hour do no harm."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    @marks.slow
    def test_pays_once_when_ten_ticks_come_at_once(self) -> None:
        for _ in range(30):
            self.due_withdrawal(1)

        def tick() -> int:
            dispatch.wake_for_pending()
            return sweeps.pay_pending(bank=self.bank, seconds=PATIENCE)

        self.assertEqual(sum(race(*[tick] * 10)), 30)
        references = self.bank.paid_references()
        self.assertEqual((len(references), len(set(references))), (30, 30))

    @override_settings(WITHDRAWAL_BATCH_SIZE=1, WITHDRAWAL_CONCURRENCY=1)
    def test_pays_a_backlog_in_the_order_in_which_it_was_due(self) -> None:
        for minutes in (40, 5, 59, 20, 1):
            due = self.now - timedelta(minutes=minutes)
            builders.due_withdrawal(self.alice, minutes, due=due)
        sweeps.pay_pending(bank=self.bank, seconds=PATIENCE)
        paid = [payment.amount for payment in self.bank.paid]
        self.assertEqual(paid, [59, 40, 20, 5, 1])

    def test_publishes_without_a_connection_of_its_own(self) -> None:
        beat = PublishingScheduler(current_app)
        entry = beat.schedule["process_pending_withdrawals"]
        with mock.patch.object(broker, "publish") as publish:
            beat.apply_entry(entry, producer=beat.producer)
        self.assertIsNone(beat.producer)
        publish.assert_called_once_with(
            "wallets.tasks.process_pending_withdrawals",
            args=entry.args,
            kwargs=entry.kwargs,
            **entry.options,
        )


class LateMessageTest(WalletTestCase):
    """A message only wakes a worker: the row decides."""

    def test_pays_once_however_often_and_late_it_arrives(self) -> None:
        self.deposit(100)
        withdrawal = self.due_withdrawal(60)
        statuses = [
            sweeps.execute_single(withdrawal.pk, bank=self.bank) for _ in range(5)
        ]
        self.assertEqual(statuses, ["COMPLETED"] * 5)
        self.assertEqual(len(self.bank.paid), 1)
        self.assert_money(self.alice, balance=40)

    def test_does_nothing_for_what_was_cancelled_meanwhile(self) -> None:
        self.deposit(100)
        withdrawal = self.due_withdrawal(60)
        WithdrawalService.cancel(withdrawal.pk)
        status = sweeps.execute_single(withdrawal.pk, bank=self.bank)
        self.assertEqual((status, self.bank.requests), ("CANCELLED", []))

    def test_does_nothing_for_an_unknown_withdrawal(self) -> None:
        for unknown in (0, -1, 10**9, 2**62):
            with self.subTest(unknown=unknown):
                self.assertIsNone(sweeps.execute_single(unknown, bank=self.bank))

    def test_does_nothing_for_a_deposit(self) -> None:
        deposit = self.deposit(100)
        self.assertIsNone(sweeps.execute_single(deposit.pk, bank=self.bank))

    def test_leaves_what_comes_much_too_early_to_the_sweep(self) -> None:
        self.deposit(100)
        withdrawal = WithdrawalService.schedule(self.alice.uuid, 60, self.after(3600))
        status = sweeps.execute_single(withdrawal.pk, bank=self.bank)
        self.assertEqual((status, self.bank.requests), ("PENDING", []))
