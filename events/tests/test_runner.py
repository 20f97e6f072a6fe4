"""The loop, the tick of Beat, the commands, and what /readyz says."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any
from unittest import mock

from django.core.management import CommandError, call_command
from django.db import OperationalError

from events import health as checks
from events import tasks
from events.errors import UnknownRow
from events.models.event import Event, Source
from events.models.progress import Gap
from events.services import feed, gaps, health, runner, sequencer
from events.services.sequencer import Pass
from wallets.models.ledger import Movement
from wallets.tests.api import Api
from wallets.tests.base import WalletTestCase
from wallets.utils.messaging import stopping


class TurnTest(WalletTestCase):
    """What one turn of the loop does, and how long it then waits."""

    def turn(self, *passes: Any, had_work: bool = True) -> float:
        with (
            mock.patch.object(sequencer, "run_pass", side_effect=passes),
            mock.patch.object(runner, "close_old_connections"),
        ):
            return runner._turn(had_work=had_work)

    def test_goes_on_at_once_while_there_is_more(self) -> None:
        self.assertEqual(self.turn(Pass(2000, more=True)), 0.0)

    def test_waits_longer_for_a_larger_pass_under_load(self) -> None:
        self.assertEqual(self.turn(Pass(3, more=False)), runner.BUSY)
        self.assertEqual(self.turn(Pass(runner.MANY, more=False)), runner.LOADED)
        self.assertEqual(self.turn(Pass(0, more=False)), runner.IDLE)

    def test_looks_before_it_locks_when_it_was_idle(self) -> None:
        sequencer.catch_up()
        self.assertEqual(self.turn(had_work=False), runner.IDLE)
        self.deposit(1)
        done = self.turn(Pass(1, more=False), had_work=False)
        self.assertEqual(done, runner.BUSY)

    def test_always_waits_less_than_a_second_without_trouble(self) -> None:
        """From the commit to the feed: the wait and a pass, within a second."""
        self.assertLess(max(runner.IDLE, runner.BUSY, runner.LOADED), 0.5)

    def test_survives_a_database_that_is_away(self) -> None:
        self.assertEqual(self.turn(OperationalError("gone")), runner.TROUBLED)

    def test_waits_at_a_row_of_a_later_release(self) -> None:
        with self.assertLogs(runner.logger, "ERROR") as logs:
            wait = self.turn(UnknownRow("wallets_transition", 7))
        self.assertEqual(wait, runner.TROUBLED)
        self.assertIn("wallets_transition has a row 7", logs.output[0])


class RunTest(WalletTestCase):
    def test_gives_places_until_its_time_is_over(self) -> None:
        self.deposit(5)
        with mock.patch.object(runner, "close_old_connections"):
            runner.run(seconds=0.3)
        self.assertEqual(feed.last_position(), 3)

    def test_ends_when_the_process_is_being_stopped(self) -> None:
        with mock.patch.object(stopping, "wait", return_value=True):
            runner.run()
        self.assertFalse(Event.objects.exists())

    def test_is_done_by_a_tick_of_beat_too(self) -> None:
        self.deposit(5)
        self.assertEqual(tasks.give_places(), {"events": 3})
        self.assertEqual(tasks.give_places(), {"events": 0})


class CommandTest(WalletTestCase):
    def call(self, *words: str) -> str:
        out = StringIO()
        call_command(*words, stdout=out)
        return out.getvalue()

    def test_run_events_once_gives_everything_its_place(self) -> None:
        self.deposit(5)
        self.assertEqual(self.call("run_events", "--once"), "events 3\n")

    def test_run_events_check_says_whether_the_feed_follows(self) -> None:
        self.call("run_events", "--once")
        self.assertIn("The feed follows: 2 events", self.call("run_events", "--check"))
        self.deposit(5)
        late = health.look(self.now + timedelta(seconds=60))
        with (
            mock.patch.object(health, "look", return_value=late),
            self.assertRaisesMessage(CommandError, "The feed is behind"),
        ):
            self.call("run_events", "--check")


class HealthTest(Api, WalletTestCase):
    def at(self, seconds: float) -> Any:
        return checks.CHECKS["events"](self.after(seconds))

    def test_is_well_while_the_feed_follows(self) -> None:
        self.deposit(5)
        self.assertEqual(self.at(5).trouble, "")
        sequencer.catch_up()
        self.assertEqual(self.at(9999).trouble, "")

    def test_says_how_long_the_oldest_change_waits(self) -> None:
        sequencer.catch_up()
        self.deposit(5)
        trouble = self.at(600).trouble
        self.assertRegex(
            trouble, r"^behind: the oldest change waits for (5\d\d|600) s$"
        )

    def test_says_so_of_a_change_that_was_committed_late(self) -> None:
        """The cursor has passed it, so nothing above the cursor waits."""
        self.deposit(5)
        sequencer.catch_up()
        pk = Movement.objects.get().pk
        for first, last in ((pk, pk), (pk, pk + 3)):
            with self.subTest(last=last):
                gaps.keep(Source.MOVEMENT, [(pk + 10, pk + 20)])
                self.assertEqual(self.at(600).trouble, "")
                gaps.keep(Source.MOVEMENT, [(first, last)])
                self.assertIn("the oldest change waits for", self.at(600).trouble)
                Gap.objects.all().delete()

    def test_takes_no_row_of_the_future_for_a_late_one(self) -> None:
        self.assertEqual(self.at(-3600).trouble, "")

    def test_is_a_check_of_readyz_and_has_figures(self) -> None:
        self.assertEqual(self.get("/readyz").json()["checks"]["events"], "ok")
        gauges = {gauge.name: gauge.value for gauge in self.at(60).gauges}
        self.assertEqual(gauges["events_position"], 0)
        self.assertGreater(gauges["events_behind_seconds"], 50)
        self.assertEqual(gauges["events_gaps"], 0)
