"""The database's clock is set, or changes with a failover: nothing is paid twice.

The database's clock differs from elapsed time between the send and the look-ups.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from unittest import mock

from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from wallets.models.alarm import Alarm
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.payouts import belief, look_up, moment, payout, waits
from wallets.tests import marks
from wallets.tests.fakes import BARE, DEDUPES_ONLY, Does, FakeBank
from wallets.tests.unknowns import (
    LEASE,
    NOT_FOUND,
    PAID,
    QUIET,
    TROUBLE,
    ResolverTestCase,
)
from wallets.utils import clock
from wallets.utils.bank.interface import Abilities, Answer

BOOKING = 30.0
WEEK = 7 * 86400.0
SLOW = Abilities(looks_up=True, booking_time=BOOKING, lookup_window=WEEK)
DISTANCE = belief.distance(SLOW)
MINUTE, DAY = 60.0, 86400.0
STEPS = (5 * MINUTE, -5 * MINUTE, DAY, -DAY)
# The time that the interval of sweeps and the rounding of a plan may add.
TICK = 10.0


@marks.slow
class SteppedClockTest(ResolverTestCase):
    """The clock is set right after the payment was sent."""

    abilities = SLOW

    def sweep_from_to(self, begin: float, end: float, database: float) -> None:
        at = begin
        while at <= end:
            self.resolve(at, database=database)
            at += TICK / 2

    def ends_at(self, withdrawal: Transaction, database: float, limit: float) -> float:
        """Return after how many seconds it is concluded that it was not paid."""
        at = 0.0
        while at <= limit:
            self.resolve(at, database=database)
            withdrawal.refresh_from_db()
            if withdrawal.state is not State.UNKNOWN:
                return at
            at += TICK
        raise AssertionError(f"nothing known after {limit} s")

    def test_pays_once_what_the_bank_books_late(self):
        """A past error: +300 s, "not found" twice within 2 s, released, paid twice."""
        for step in STEPS:
            with self.subTest(step=step):
                self.bank.paid.clear()
                withdrawal = self.unknown(Does.BOOK_LATE)
                self.sweep_from_to(0, BOOKING, database=step)
                self.assert_state(withdrawal, State.UNKNOWN)
                self.bank.book()
                self.sweep_from_to(BOOKING, 2 * QUIET + 5 * MINUTE, database=step)
                self.assert_state(withdrawal, State.COMPLETED)
                self.assertEqual(len(self.bank.paid), 1)

    def test_ends_in_its_time_what_was_not_paid(self):
        """It ends only after both the quiet period and the distance."""
        least = QUIET + DISTANCE
        for step in (0.0, *STEPS):
            withdrawal = self.unknown()
            # A plan is due later by a clock that is behind.
            behind = 5 * MINUTE if step == -5 * MINUTE else 0
            with self.subTest(step=step):
                ended = self.ends_at(withdrawal, step, least + behind + 9 * TICK)
                self.assertGreaterEqual(ended, least)
                self.assertLessEqual(ended, least + behind + 6 * TICK)
                self.assert_state(withdrawal, State.FAILED_RETRYABLE)

    def test_does_not_take_a_second_answer_for_one_that_was_asked_much_later(self):
        """The clock steps between the two answers."""
        withdrawal = self.unknown()
        self.resolve(QUIET, NOT_FOUND)
        self.assertEqual(withdrawal.attempts.get().not_found_count, 1)
        for after, step in ((2, DAY), (DISTANCE - 1, DAY + MINUTE)):
            self.assertEqual(self.resolve(QUIET + after, NOT_FOUND, database=step), 1)
            self.assert_state(withdrawal, State.UNKNOWN)
        self.resolve(QUIET + DISTANCE, NOT_FOUND, database=DAY + 2 * MINUTE)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)

    def test_plans_the_second_question_for_when_it_will_count(self):
        withdrawal = self.unknown()
        self.resolve(QUIET)
        planned = withdrawal.attempts.get().next_check_at
        self.assertEqual(planned, self.after(QUIET + DISTANCE))
        self.resolve(QUIET + DISTANCE)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)

    def test_plans_the_first_question_that_counts_for_the_end_of_the_quiet_period(self):
        withdrawal = self.unknown()
        self.resolve(QUIET - 1)
        planned = withdrawal.attempts.get().next_check_at
        self.assertEqual(planned, self.after(QUIET))

    def test_waits_for_the_database_too(self):
        """A copy of this machine has the same clock name, so both clocks must agree."""
        withdrawal = self.unknown()
        for at in (QUIET + 60, QUIET + 120, QUIET + 180):
            self.resolve(at, NOT_FOUND, database=-120)
        attempt = withdrawal.attempts.get()
        self.assertEqual((attempt.checks, attempt.not_found_count), (3, 1))

    def test_is_not_put_off_for_a_day(self):
        """The plan of a clock that was ahead is ignored."""
        withdrawal = self.unknown()
        attempt = withdrawal.attempts.get()
        attempt.next_check_at = self.after(DAY)
        attempt.save()
        self.assertEqual(self.resolve(TICK, PAID), 1)
        self.assert_state(withdrawal, State.COMPLETED)

    def test_calls_an_operator_in_time_whatever_the_clock_shows(self):
        """Not at once after a step forward, and not a day late after a step back."""
        patience = settings.WITHDRAWAL_REVIEW_AFTER
        for step in STEPS:
            withdrawal = self.unknown()
            late = -min(0.0, step) if step == -5 * MINUTE else 0.0
            silent = mock.patch.object(self.bank, "look_up", return_value=TROUBLE)
            with self.subTest(step=step), silent:
                self.resolve(patience - 1, database=step)
                self.assert_state(withdrawal, State.UNKNOWN)
                self.resolve(patience + late + 1100, database=step)
                self.assert_state(withdrawal, State.NEEDS_REVIEW)

    def test_leaves_plans_alone_that_can_be_its_own(self):
        withdrawal = self.unknown()
        attempt = withdrawal.attempts.get()
        attempt.next_check_at = self.now + look_up.longest_plan()
        attempt.save()
        self.assertEqual(self.resolve(0, PAID), 0)


class OtherMachineTest(ResolverTestCase):
    """The machine that sent is gone; another one, with its own clock, looks up."""

    abilities = SLOW

    def on(self, name: str) -> None:
        patch = mock.patch.object(clock, "machine", return_value=name)
        patch.start()
        self.addCleanup(patch.stop)

    def test_counts_from_its_own_first_look(self):
        self.on("one")
        withdrawal = self.unknown()
        self.on("two")
        begin = LEASE  # the time of its first look
        self.resolve(begin)
        ahead = 5 * MINUTE  # the database's clock after a failover
        for at in range(int(begin), int(begin + QUIET), 5):
            self.resolve(at, database=ahead)
        self.assertEqual(withdrawal.attempts.get().not_found_count, 0)
        self.resolve(begin + QUIET, database=ahead)
        self.assertEqual(withdrawal.attempts.get().not_found_count, 1)
        self.resolve(begin + QUIET + DISTANCE, database=ahead)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)

    def test_takes_over_what_the_first_one_has_waited(self):
        self.on("one")
        withdrawal = self.unknown()
        self.resolve(QUIET - 20, TROUBLE)
        self.on("two")
        self.resolve(QUIET, NOT_FOUND)  # by its lower bound 20 s too early
        self.assertEqual(withdrawal.attempts.get().not_found_count, 0)
        self.resolve(QUIET + 20, NOT_FOUND)
        self.assertEqual(withdrawal.attempts.get().not_found_count, 1)

    def test_does_not_take_a_difference_of_two_bounds_for_the_distance(self):
        """The bound of the send is small, then suddenly large. The difference is not
        the time between the two answers."""
        self.on("one")
        withdrawal = self.unknown()
        self.resolve(QUIET, NOT_FOUND)
        self.on("two")
        self.resolve(QUIET + DISTANCE, NOT_FOUND, database=DAY)
        self.assert_state(withdrawal, State.UNKNOWN)
        self.on("one")
        self.resolve(QUIET + 2 * DISTANCE, NOT_FOUND, database=DAY)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)


class EarlierReleaseTest(ResolverTestCase):
    abilities = SLOW

    def test_is_counted_from_the_first_look(self):
        """An attempt of an earlier release has no elapsed times."""
        withdrawal = self.unknown()
        withdrawal.attempts.update(waits=None)
        self.resolve(3600, NOT_FOUND)
        self.assertEqual(withdrawal.attempts.get().not_found_count, 0)
        self.resolve(3600 + QUIET, NOT_FOUND)
        self.resolve(3600 + QUIET + DISTANCE, NOT_FOUND)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)


class LookUpWindowTest(ResolverTestCase):
    """After its look-up window the bank forgets: then "not found" is no proof."""

    abilities = Abilities(looks_up=True, booking_time=BOOKING, lookup_window=DAY)

    def test_calls_an_operator_after_a_downtime_of_days(self):
        """It was paid, the answer was lost, and the bank forgot it in three days."""
        withdrawal = self.unknown(Does.PAY_SILENTLY)
        self.bank._remembered.clear()
        for at in (3 * DAY, 3 * DAY + 60, 3 * DAY + 3600, 4 * DAY):
            self.resolve(at)
            self.assert_state(withdrawal, State.NEEDS_REVIEW)
        alarm = withdrawal.alarms.get()
        self.assertEqual(alarm.kind, Alarm.Kind.NEEDS_REVIEW)
        self.assertEqual(alarm.detail, look_up.FORGOTTEN)
        self.assert_held()
        self.assertEqual(len(self.bank.requests), 1)

    def test_is_over_when_the_databases_clock_was_set_so_far_forward(self):
        """It may as well have been a downtime: an operator looks, no money moves."""
        withdrawal = self.unknown(Does.BOOK_LATE)
        self.resolve(QUIET, database=DAY)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.bank.book()
        self.resolve(QUIET + 600, database=DAY)
        self.assert_state(withdrawal, State.COMPLETED)

    def test_still_believes_that_it_was_paid(self):
        for answers in ([PAID], [NOT_FOUND, TROUBLE, PAID]):
            withdrawal = self.unknown()
            for number, answer in enumerate(answers):
                self.resolve(3 * DAY + 3600 * number, answer)
            self.assert_state(withdrawal, State.COMPLETED)

    def test_ends_between_the_two_answers(self):
        withdrawal = self.unknown()
        self.resolve(DAY - DISTANCE, NOT_FOUND)
        self.assertEqual(withdrawal.attempts.get().not_found_count, 1)
        self.resolve(DAY, NOT_FOUND)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)

    def test_ends_while_the_answer_is_under_way(self):
        """The process was frozen after it had read the clock, before it asked."""
        withdrawal = self.unknown()
        self.resolve(QUIET, NOT_FOUND)
        self.resolve_frozen_until(2 * DAY, at=QUIET + MINUTE)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)

    def test_does_not_open_again_when_a_clock_is_set_back(self):
        """The window is over as soon as any clock says so."""
        for database, elapsed, host in (
            (DAY, 0.0, 0.0),
            (0.0, DAY, 0.0),
            (0.0, 0.0, DAY),
            (-DAY, DAY, -DAY),
        ):
            withdrawal = self.unknown()
            attempt = withdrawal.attempts.get()
            shown = moment.Moment(
                now=self.after(database),
                host=self.after(host),
                elapsed=clock.elapsed() + elapsed,
                clock=clock.machine(),
            )
            with self.subTest(database=database, elapsed=elapsed, host=host):
                self.assertFalse(belief.is_remembered(attempt, self.abilities, shown))

    def test_is_judged_by_this_hosts_clock_as_well(self):
        withdrawal = self.unknown()
        self.resolve(QUIET, NOT_FOUND)
        with (
            mock.patch.object(
                moment, "database_now", return_value=self.after(QUIET + 60)
            ),
            mock.patch.object(timezone, "now", return_value=self.after(2 * DAY)),
        ):
            self.time.stand_at(QUIET + 60)
            self.run_round()
        self.assert_state(withdrawal, State.NEEDS_REVIEW)

    def test_may_be_for_ever(self):
        self.bank._abilities = Abilities(looks_up=True, lookup_window=math.inf)
        withdrawal = self.unknown()
        self.resolve(900 * DAY)
        self.resolve(900 * DAY + MINUTE)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)

    def test_begins_with_the_last_send(self):
        attempt = self.unknown().attempts.get()
        attempt.waits = waits.begun_again(
            attempt.waits,
            clock=clock.machine(),
            elapsed=clock.elapsed() + DAY,
            shown=self.after(DAY).timestamp(),
        )
        attempt.last_sent_at += timedelta(seconds=DAY)
        for passed, remembered in ((0.0, True), (DAY - 1, True), (DAY, False)):
            shown = moment.read(
                self.after(DAY + passed), clock.elapsed() + DAY + passed
            )
            self.assertEqual(
                belief.is_remembered(attempt, self.abilities, shown), remembered
            )


class DedupeWindowTest(ResolverTestCase):
    """The bank pays a reference only once, as long as it remembers it."""

    window = 7200.0
    abilities = Abilities(dedupes=True, dedupe_window=window)

    def test_does_not_open_again_when_the_databases_clock_is_set_back(self):
        withdrawal = self.unknown(Does.PAY_SILENTLY)
        self.bank._remembered.clear()
        self.resolve(self.window, database=-DAY)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(len(self.bank.requests), 1)

    def test_is_over_when_no_clock_can_tell(self):
        """The machine was restarted, and its wall clock shows an earlier day."""
        withdrawal = self.unknown(Does.PAY_SILENTLY)
        self.bank._remembered.clear()
        with mock.patch.object(clock, "machine", return_value="after the boot"):
            self.resolve(3 * DAY, database=-4 * DAY)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(len(self.bank.requests), 1)

    def test_is_over_though_the_databases_clock_was_ahead_at_the_send(self):
        """The clock was corrected since, and the sender's machine is gone."""
        for host in (0, DAY):
            withdrawal = self.sent_at(database=DAY - host, host=host)
            paid = len(self.bank.requests)
            self.bank._remembered.clear()
            self.resolve_elsewhere(DAY + 10 * MINUTE)
            with self.subTest(host_was_ahead_by=host):
                self.assert_state(withdrawal, State.NEEDS_REVIEW)
                self.assertEqual(len(self.bank.requests), paid)

    def test_is_also_over_after_a_second_send(self):
        withdrawal = self.sent_at(database=DAY, host=0, does=Does.LOSE)
        self.bank.script.append(Does.PAY_SILENTLY)
        self.time.stand_at(LEASE)
        with self.clocks(self.after(DAY + LEASE), self.after(LEASE)):
            self.run_round()
        self.assertEqual(len(self.bank.requests), 2)
        self.bank._remembered.clear()
        self.resolve_elsewhere(DAY + 10 * MINUTE)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(len(self.bank.requests), 2)

    def sent_at(
        self, *, database: float, host: float, does: Does = Does.PAY_SILENTLY
    ) -> Transaction:
        """Return an unanswered withdrawal, sent while the clocks were ahead."""
        withdrawal = self.due_withdrawal(100)
        rows = Transaction.objects.filter(pk=withdrawal.pk)
        self.time.stand_at(0)
        with self.clocks(self.after(database), self.after(host)):
            (sending,) = payout.claim(rows, bank=self.bank.abilities, limit=1).sendings
        self.bank.script.append(does)
        self.bank.pay(sending.payment)
        return withdrawal

    def resolve_elsewhere(self, at: float) -> None:
        """Sweep on another machine after a lease; every clock has been corrected."""
        with mock.patch.object(clock, "machine", return_value="another"):
            self.resolve(at)
            self.resolve(at + 2 * LEASE)

    @contextlib.contextmanager
    def clocks(self, database: datetime, host: datetime) -> Iterator[None]:
        with (
            mock.patch.object(moment, "database_now", return_value=database),
            mock.patch.object(timezone, "now", return_value=host),
        ):
            yield

    @override_settings(WITHDRAWAL_REVIEW_AFTER=DAY)
    def test_begins_with_the_first_send_whatever_the_clocks_do_since(self):
        """Only the window asks for a review here, not the time that has passed."""
        withdrawal = self.unknown()
        self.bank.script.append(Does.LOSE)
        self.resolve(LEASE)
        self.assertEqual(len(self.bank.requests), 2)
        self.resolve(self.window - LEASE, database=-DAY)
        self.assertEqual(len(self.bank.requests), 2)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)


class LiveSenderTest(ResolverTestCase):
    """The database's clock is ahead while a sender is at work."""

    def test_is_not_taken_for_dead(self):
        for abilities in (BARE, DEDUPES_ONLY):
            self.bank._abilities = abilities
            withdrawal, sending = self.crashed()
            with self.subTest(abilities=abilities):
                for at in (1, 20, LEASE - 1):
                    self.resolve(at, database=5 * MINUTE)
                    self.assert_state(withdrawal, State.SENDING)
                payout.record([(sending, PAID)], now=self.after(LEASE))
                self.assert_state(withdrawal, State.COMPLETED)
        self.assertEqual(self.bank.requests, [])
        self.assertEqual(Alarm.objects.count(), 0)

    def test_is_looked_into_once_its_lease_is_over(self):
        self.bank._abilities = DEDUPES_ONLY
        withdrawal, _ = self.crashed()
        self.resolve(1, database=5 * MINUTE)
        planned = withdrawal.attempts.get().next_check_at
        self.assertEqual(planned, self.after(LEASE + 5 * MINUTE))
        self.resolve(LEASE, database=5 * MINUTE)
        self.assert_state(withdrawal, State.COMPLETED)

    def test_of_a_clock_set_back_is_not_taken_for_dead_either(self):
        self.bank._abilities = BARE
        withdrawal, _ = self.crashed()
        self.resolve(1, database=-DAY)
        self.assert_state(withdrawal, State.SENDING)
        self.resolve(LEASE, database=-DAY)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)

    @override_settings(WITHDRAWAL_QUIET_PERIOD=settings.WITHDRAWAL_LEASE + 1)
    def test_may_send_until_its_lease_ends_and_is_waited_for(self):
        """The last byte is sent, and the payment booked, as late as allowed."""
        self.bank._abilities = SLOW
        withdrawal, sending = self.crashed()
        last = LEASE - 2 * settings.THIRD_PARTY_DEADLINE - 1
        for at in range(0, int(last), 10):
            self.resolve(at, database=DAY)
        self.time.stand_at(last)
        self.bank.script.append(Does.BOOK_LATE)
        self.bank.pay(sending.payment, send_before=sending.send_before)
        for at in range(int(last), int(last + BOOKING), 2):
            self.resolve(at, database=DAY)
        self.assert_state(withdrawal, State.UNKNOWN)
        self.bank.book()
        for at in range(int(last + BOOKING), int(QUIET + DISTANCE), 5):
            self.resolve(at, database=DAY)
        self.assert_state(withdrawal, State.COMPLETED)
        self.assertEqual(len(self.bank.paid), 1)


@marks.slow
class NamelessClockTest(ResolverTestCase):
    """The system does not name its clock, and each sweep is a process of its own…"""

    # A day by default.
    END = 24 * settings.WITHDRAWAL_REVIEW_AFTER

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(clock.machine.cache_clear)
        nowhere = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(mock.patch.object(clock, "_BOOT_ID", Path(nowhere, "id")))

    def resolve(self, at: float, *answers: Answer, database: float = 0) -> int:
        clock.machine.cache_clear()  # a new process
        return super().resolve(at, *answers, database=database)

    def check(self, abilities: Abilities, *answers: Answer) -> None:
        """Sweep every half an hour; the bank tells nothing by which it can end."""
        self.bank = FakeBank(abilities)
        clock.machine.cache_clear()
        withdrawal, _ = self.crashed()
        at = settings.WITHDRAWAL_REVIEW_AFTER / 2
        while at < self.END:
            self.resolve(at, *answers)
            withdrawal.refresh_from_db()
            self.assertIn(withdrawal.state, (State.SENDING, State.UNKNOWN), at)
            at += settings.WITHDRAWAL_REVIEW_AFTER / 2
        for late in (0, 2 * settings.WITHDRAWAL_REVIEW_AFTER):
            self.resolve(self.END + late, *answers)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(Alarm.objects.get().kind, Alarm.Kind.NEEDS_REVIEW)
        self.assertEqual(self.bank.requests, [])
        self.assert_held()

    def test_brings_to_review_what_a_bare_bank_cannot_tell(self) -> None:
        self.check(BARE)

    def test_brings_to_review_what_may_not_be_sent_again(self) -> None:
        self.check(Abilities(dedupes=True, dedupe_window=WEEK))

    def test_brings_to_review_what_no_look_up_tells(self) -> None:
        self.check(SLOW, TROUBLE)

    def test_brings_to_review_what_is_not_found(self) -> None:
        self.check(SLOW, NOT_FOUND)

    def test_gives_no_other_clock_the_right_to_end_an_attempt_so(self) -> None:
        """A clock with a name counts itself; the database's alone proves nothing."""
        self.bank = FakeBank(BARE)
        withdrawal, _ = self.crashed()
        named = mock.patch.object(clock, "_name_of_clock", return_value="a" * 32)
        with named:
            self.resolve(1, database=self.END)
        self.assert_state(withdrawal, State.SENDING)
