"""A heartbeat means that a sweep has done its work, and nothing else."""

from unittest import mock

from django.test import override_settings

from wallets.models.heartbeat import Heartbeat
from wallets.services.operations import metrics, payout_health, readiness
from wallets.services.payouts import dispatch, drain, sweeps
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase, up_for
from wallets.tests.fakes import Does
from wallets.utils.messaging import slots


class HeartbeatTest(WalletTestCase):
    def names(self):
        return set(Heartbeat.objects.values_list("name", flat=True))

    def drain(self):
        sweeps.pay_pending(bank=self.bank)
        sweeps.pay_retries(bank=self.bank)

    def test_is_left_by_a_tick_that_finds_nothing_due(self):
        dispatch.wake_for_pending()
        dispatch.wake_for_retries()
        self.assertEqual(self.names(), {"pending", "retry"})

    def test_is_left_to_the_drain_where_something_is_due(self):
        self.deposit(100)
        self.due_withdrawal(100)
        self.assertEqual(dispatch.wake_for_pending(), 1)
        self.assertEqual(self.names(), set())

    def test_is_left_by_a_drain_that_could_claim(self):
        self.drain()
        self.assertEqual(self.names(), {"pending", "retry"})

    def test_is_not_left_while_payouts_are_paused(self):
        with override_settings(WITHDRAWALS_PAUSED=True):
            dispatch.wake_for_pending()
            dispatch.wake_for_retries()
            self.drain()
        self.assertEqual(self.names(), set())

    def test_is_not_left_by_a_drain_that_is_stopped_before_it_claims(self):
        with mock.patch.object(drain.stopping, "wait", return_value=True):
            self.drain()
        self.assertEqual(self.names(), set())

    def test_is_not_left_by_a_drain_that_found_no_slot(self):
        slots.bound({"pending": 0, "retry": 0})
        self.addCleanup(slots.bound, {})
        self.drain()
        self.assertEqual(self.names(), set())

    @up_for(3600)
    def test_of_the_future_says_nothing(self):
        """The database's clock was a day ahead, and was corrected; then workers died."""
        for name in ("pending", "retry", "resolve"):
            Heartbeat.objects.create(name=name, ran_at=self.after(86400), by="x")
        found = readiness.look()
        self.assertEqual(found.checks["sweeps"], "silent: pending, retry, resolve")
        self.assertEqual(found.sweeps, dict.fromkeys(found.sweeps))
        ages = metrics.figures().sweep_ages
        self.assertEqual(ages, dict.fromkeys(ages))

    @up_for(3600)
    def test_may_be_newer_than_the_time_that_was_read_before_it(self):
        for name in ("pending", "retry", "resolve"):
            Heartbeat.objects.create(name=name, ran_at=self.after(1), by="x")
        silent = [sweep.silent for sweep in readiness.sweeps(self.now)]
        self.assertEqual(silent, [False] * 3)


class PayoutHealthTest(WalletTestCase):
    def test_does_not_count_answers_of_the_future(self):
        """The database's clock was a day ahead when the bank did not answer."""
        self.deposit(100)
        self.bank.script.extend([Does.UNREACHABLE] * 3)
        for _ in range(3):
            row = self.due_withdrawal(10)
            WithdrawalService.execute(row.pk, bank=self.bank, now=self.after(86400))
        lost = [payout_health.look(self.after(at)).lost for at in (0, 86400)]
        self.assertEqual(lost, [0, 3])
