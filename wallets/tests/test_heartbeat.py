"""A heartbeat means that a sweep has done its work, and nothing else."""

from unittest import mock

from django.test import override_settings

from wallets.models.heartbeat import Heartbeat
from wallets.services.payouts import dispatch, drain, sweeps
from wallets.tests.base import WalletTestCase
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
        self.addCleanup(slots.unbound)
        self.drain()
        self.assertEqual(self.names(), set())
