"""Beat ticks by elapsed time, even when the machine's clock is set."""

from __future__ import annotations

from unittest import mock, skipUnless

from celery import current_app
from django.test import SimpleTestCase

from wallets.tests.clocks import StandingClock
from wallets.utils.messaging import broker
from wallets.utils.messaging.beat import PublishingScheduler, every

try:
    import time_machine
except ImportError:
    time_machine = None

INTERVAL = 10.0


@skipUnless(time_machine, "time_machine is not installed")
class TickTest(SimpleTestCase):
    """Celery's scheduler, with elapsed time and a date that the test controls."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = StandingClock()
        self.clock.start()
        self.addCleanup(self.clock.stop)
        patch = mock.patch.object(broker, "publish")
        self.publish = patch.start()
        self.addCleanup(patch.stop)
        entry = {"task": "wallets.tasks.process_pending_withdrawals"}
        self.beat = PublishingScheduler(current_app, lazy=True)
        self.beat.update_from_dict({"pending": entry | {"schedule": every(INTERVAL)}})

    def ticks_in(self, seconds: float) -> int:
        """Return the number of ticks in this time, which passes second by second."""
        before = self.publish.call_count
        for _ in range(round(seconds)):
            self.clock.go_on(1)
            while self.beat.tick() == 0:
                pass
        return self.publish.call_count - before

    def test_come_at_their_interval(self) -> None:
        self.assertEqual(self.ticks_in(6 * INTERVAL + 1), 6)

    def test_go_on_at_their_interval_when_the_clock_is_set(self) -> None:
        with time_machine.travel("2026-06-01T12:00:00Z") as machine:
            self.ticks_in(INTERVAL + 1)
            for seconds in (-600, 600, -86400 * 366, 86400 * 366, -0.5):
                with self.subTest(seconds=seconds):
                    machine.shift(seconds)
                    self.assertEqual(self.ticks_in(6 * INTERVAL), 6)

    def test_do_not_come_in_a_burst_after_a_long_sleep(self) -> None:
        self.ticks_in(INTERVAL + 1)
        self.clock.go_on(3600)
        self.assertEqual(self.ticks_in(1), 1)
