"""Elapsed time across processes and machines is never more than the real time."""

from __future__ import annotations

import json
import subprocess
import sys
from unittest import mock

from django.db import connection
from django.test import SimpleTestCase
from hypothesis import given, settings
from hypothesis import strategies as st

from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.payouts import payout, waits
from wallets.tests import marks
from wallets.tests.base import WalletTestCase
from wallets.utils import clock

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["look", "look", "look", "resend", "not_found", "other"]),
        st.integers(0, 30),  # the clock; there are more than are stored
        st.sampled_from([0, 0.001, 1, 7.3, 600, 86400]),  # the seconds before it
        st.sampled_from(["", "", "", "restart", "set back"]),
    ),
    max_size=60,
)


class WaitsTest(SimpleTestCase):
    @marks.slow
    @settings(max_examples=300, deadline=None)
    @given(STEPS)
    def test_never_say_more_than_has_passed(self, steps):
        """The clocks begin at any time, restart, stand still, or lose anchors."""
        true = 10_000.0
        began = {number: 1000.0 * number / 7 for number in range(31)}
        boots = dict.fromkeys(began, 0)
        events = {waits.SENT: true, waits.FIRST_SENT: true}
        known = waits.begun(clock="0 0", elapsed=true - began[0], shown=true)
        for what, number, seconds, trouble in steps:
            true += seconds
            if trouble == "restart":
                boots[number] += 1
                began[number] = true
            elif trouble == "set back":
                began[number] = min(true, began[number] + 50)
            this = {
                "clock": f"{number} {boots[number]}",
                "elapsed": true - began[number],
            }
            if what == "resend":
                known = waits.begun_again(known, **this, shown=true)
                events[waits.SENT] = true
                events.pop(waits.NOT_FOUND, None)
            elif what == "not_found":
                known = waits.with_not_found(waits.observed(known, **this), **this)
                events.setdefault(waits.NOT_FOUND, true)
            elif what == "other":
                known = waits.without_not_found(waits.observed(known, **this))
                events.pop(waits.NOT_FOUND, None)
            else:
                known = waits.observed(known, **this)
            known = json.loads(json.dumps(known))  # as the database stores it
            for event, since in events.items():
                if event == waits.FIRST_SENT:
                    event = waits.first_send(known)
                passed = waits.waited_since(known, event, **this)
                self.assertLessEqual(passed, true - since + 1e-6, event)
            for anchors in known.values():
                self.assertLessEqual(len(anchors), waits.MAX_CLOCKS)
            first = waits.shown_at(known, waits.first_send(known))
            self.assertEqual(first, 10_000.0)
            self.assertEqual(waits.shown_at(known, waits.SENT), events[waits.SENT])

    def test_count_exactly_on_one_clock_whoever_asks(self):
        known = waits.begun(clock="a", elapsed=100, shown=7)
        for shown in (101, 107.5, 160):
            known = waits.observed(known, clock="a", elapsed=shown)
            passed = waits.waited_since(known, waits.SENT, clock="a", elapsed=shown)
            self.assertEqual(passed, shown - 100)

    def test_are_taken_over_by_another_clock_and_go_on_there(self):
        known = waits.begun(clock="a", elapsed=100, shown=7)
        known = waits.observed(known, clock="a", elapsed=150)
        self.assertEqual(
            waits.waited_since(known, waits.SENT, clock="b", elapsed=9), 50
        )
        known = waits.observed(known, clock="b", elapsed=9)
        self.assertEqual(
            waits.waited_since(known, waits.SENT, clock="b", elapsed=29), 70
        )

    def test_stand_still_on_a_clock_that_shows_less_than_it_did(self):
        known = waits.begun(clock="a", elapsed=100, shown=7)
        self.assertEqual(
            waits.waited_since(known, waits.SENT, clock="a", elapsed=10), 0
        )

    def test_go_on_however_many_clocks_look_in_turn(self):
        """With one clock too many, the deleted anchor is not always the next one's."""
        known, true, passed = waits.begun(clock="0", elapsed=0, shown=0), 0.0, 0.0
        for _ in range(60):
            for number in range(waits.MAX_CLOCKS + 5):
                true += 1
                this = {"clock": str(number), "elapsed": true}
                known = waits.observed(known, **this)
                passed = waits.waited_since(known, waits.SENT, **this)
        self.assertGreater(passed, 120)

    def test_know_nothing_of_what_is_not_well_formed(self):
        for anchors in (None, [], "x", {"a": 1}, {"a": [1]}, {"a": ["1", 2]}):
            for known in (None, [], "x", 7, {"sent": anchors}):
                with self.subTest(known=known):
                    passed = waits.waited_since(known, waits.SENT, clock="a", elapsed=9)
                    self.assertEqual(passed, 0)
                    known = waits.observed(known, clock="a", elapsed=9)
                    passed = waits.waited_since(known, "sent", clock="a", elapsed=19)
                    self.assertEqual(passed, 10)
                    self.assertFalse(waits.is_counted_by(known, "sent", "a"))
        for shown in (None, [], "x", {"sent": "1"}, {"sent": None}, {"sent": True}):
            self.assertIsNone(waits.shown_at({"shown": shown}, waits.SENT))
        for value in (float("nan"), float("inf"), -1, True):
            self.assertFalse(waits.knows({"sent": {"a": [value, 1]}}, waits.SENT))


class MachineTest(SimpleTestCase):
    def ask(self, code: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", f"from wallets.utils import clock; {code}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def test_is_the_same_in_every_process_that_reads_the_same_clock(self):
        if clock._name_of_clock() is None:
            self.skipTest("this system does not tell")
        self.assertEqual(self.ask("print(clock.machine())"), clock.machine())

    def test_is_another_one_after_a_boot_and_in_another_time_namespace(self):
        if clock._name_of_clock() is None:
            self.skipTest("this system does not tell")
        names = {clock._name_of_clock()}
        for place, text in (
            ("_BOOT_ID", "11111111-1111-4111-8111-111111111111"),
            ("_OFFSETS", "monotonic 5 0 boottime 86400 0"),
        ):
            file = mock.Mock()
            file.read_text.return_value = text
            with mock.patch.object(clock, place, file):
                names.add(clock._name_of_clock())
        self.assertEqual(len(names), 3)

    def test_is_different_in_each_process_without_a_boot_id(self):
        code = (
            "from pathlib import Path;"
            "clock._BOOT_ID = Path('/nowhere');"
            "print(clock.machine() == clock.machine(), clock.machine())"
        )
        first, second = self.ask(code), self.ask(code)
        self.assertTrue(first.startswith("True "))
        self.assertNotEqual(first, second)


class ClaimedWaitsTest(WalletTestCase):
    def test_begin_with_the_claim(self):
        """A time that is measured from the lease must not begin before the lease."""
        self.deposit(100)
        began = clock.elapsed()
        row = self.due_withdrawal(60)
        payout.claim(
            Transaction.objects.filter(pk=row.pk),
            bank=self.bank.abilities,
            limit=1,
            now=self.now,
        )
        ((name, (waited, at)),) = row.attempts.get().waits["sent"].items()
        self.assertEqual((name, waited), (clock.machine(), 0))
        self.assertGreaterEqual(at, began)
        self.assertLessEqual(at, clock.elapsed())

    def test_are_written_for_many_at_once(self):
        """On PostgreSQL all rows are sent as one JSON document."""
        self.deposit(100)
        rows = [self.due_withdrawal(10) for _ in range(3)]
        payout.claim(
            Transaction.objects.filter(pk__in=[row.pk for row in rows]),
            bank=self.bank.abilities,
            limit=9,
            now=self.now,
        )
        found = Attempt.objects.filter(transaction__in=rows)
        self.assertEqual([list(row.waits) for row in found], [["sent", "shown"]] * 3)

    def test_are_missing_in_an_attempt_of_the_previous_release(self):
        self.deposit(100)
        row = self.due_withdrawal(60)
        payout.claim(
            Transaction.objects.filter(pk=row.pk),
            bank=self.bank.abilities,
            limit=1,
            now=self.now,
        )
        with connection.cursor() as cursor:
            cursor.execute("UPDATE wallets_attempt SET waits = NULL")
        attempt = row.attempts.get()
        self.assertIsNone(attempt.waits)
        self.assertEqual(
            waits.waited_since(attempt.waits, waits.SENT, clock="a", elapsed=5), 0
        )
