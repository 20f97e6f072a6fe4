"""Heartbeats: a sweep that had nothing to do has run, too."""

from wallets.models.heartbeat import Heartbeat
from wallets.services import dispatch
from wallets.tests.base import WalletTestCase


class HeartbeatTest(WalletTestCase):
    def names(self):
        return set(Heartbeat.objects.values_list("name", flat=True))

    def test_is_left_by_a_tick_that_finds_nothing_due(self):
        dispatch.ring_for_pending()
        dispatch.ring_for_retries()
        self.assertEqual(self.names(), {"pending", "retry"})

    def test_is_left_to_the_drain_where_something_is_due(self):
        self.deposit(100)
        self.due_withdrawal(100)
        self.assertEqual(dispatch.ring_for_pending(), 1)
        self.assertEqual(self.names(), set())
