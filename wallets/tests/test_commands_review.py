"""The commands of operators: review, alarms, cancel."""

from __future__ import annotations

import io
from typing import Any

from django.core.management import CommandError, call_command

from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.services.payouts import resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import BARE, Does, FakeBank

HUGE = "9" * 30


class CommandTestCase(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    def run_command(self, *words: Any) -> str:
        out = io.StringIO()
        call_command(*map(str, words), stdout=out, stderr=out)
        return out.getvalue()

    def assert_refused(self, reason: str, *words: Any) -> None:
        """Check that the command ends with an error of one line."""
        with self.assertRaises(CommandError) as refusal:
            self.run_command(*words)
        text = str(refusal.exception)
        self.assertIn(reason, text)
        self.assertNotIn("\n", text)

    def in_review(self, amount: int = 60) -> Transaction:
        """Return a withdrawal of which the bank cannot tell whether it paid it."""
        withdrawal = self.due_withdrawal(amount)
        bank = FakeBank(BARE, script=(Does.PAY_SILENTLY,))
        WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.now)
        resolver.resolve_due(bank=bank, limit=10, now=self.after(600))
        withdrawal.refresh_from_db()
        self.assertTrue(withdrawal.needs_review)
        return withdrawal


class ReviewCommandTest(CommandTestCase):
    def resolve(self, pk: Any, outcome: str, evidence: str = "statement 7") -> str:
        return self.run_command(
            "review", "resolve", pk, outcome, "--evidence", evidence, "--by", "oscar"
        )

    def test_lists_what_waits_with_everything_one_needs_to_ask_the_bank(self) -> None:
        withdrawal = self.in_review()
        text = self.run_command("review")
        attempt = withdrawal.attempts.get()
        for part in (
            withdrawal.pk,
            self.alice.uuid,
            60,
            attempt.reference,
            "attempts 1",
        ):
            self.assertIn(str(part), text)
        self.assertIn("1 waiting for a review", text)

    def test_says_when_nothing_waits(self) -> None:
        self.assertIn("0 waiting", self.run_command("review", "list"))

    def test_shows_no_control_characters_of_the_bank(self) -> None:
        withdrawal = self.in_review()
        withdrawal.attempts.update(answer="\x1b[31mred\nline")
        text = self.run_command("review")
        self.assertNotIn("\x1b", text)
        self.assertIn("?[31mred line", text)

    def test_resolves_as_paid(self) -> None:
        withdrawal = self.in_review()
        self.assertIn("COMPLETED", self.resolve(withdrawal.pk, "--paid"))
        self.assert_money(self.alice, balance=940)

    def test_resolves_as_not_paid(self) -> None:
        withdrawal = self.in_review()
        self.assertIn("FAILED", self.resolve(withdrawal.pk, "--not-paid"))
        self.assert_money(self.alice, balance=1000)

    def test_keeps_who_said_so_and_why(self) -> None:
        withdrawal = self.in_review()
        self.resolve(withdrawal.pk, "--paid", "statement 7, line 3")
        last = withdrawal.transitions.last()
        self.assertEqual((last.actor, last.evidence), ("oscar", "statement 7, line 3"))

    def test_resolves_once_only(self) -> None:
        withdrawal = self.in_review()
        self.resolve(withdrawal.pk, "--paid")
        by = ("--evidence", "x", "--by", "oscar")
        self.assert_refused(
            "completed", "review", "resolve", withdrawal.pk, "--not-paid", *by
        )
        self.assert_money(self.alice, balance=940)

    def test_raises_an_alarm_when_what_was_released_turns_out_paid(self) -> None:
        withdrawal = self.in_review()
        self.resolve(withdrawal.pk, "--not-paid")
        by = ("--evidence", "statement 8", "--by", "oscar")
        self.assert_refused("failed", "review", "resolve", withdrawal.pk, "--paid", *by)
        alarm = Alarm.objects.get(kind=Alarm.Kind.PAID_AFTER_RELEASE)
        self.assertIn("statement 8", alarm.detail)
        self.assert_money(self.alice, balance=1000)

    def test_refuses_in_one_line_and_changes_nothing(self) -> None:
        withdrawal, by = self.in_review(), ("--by", "oscar")
        known = ("review", "resolve", withdrawal.pk)
        self.assert_refused("evidence", *known, "--paid", "--evidence", " ", *by)
        self.assert_refused("2000", *known, "--paid", "--evidence", "x" * 2001, *by)
        self.assert_refused("who", *known, "--paid", "--evidence", "x", "--by", " ")
        self.assert_refused("required", *known, "--evidence", "x", *by)
        self.assert_refused(
            "not allowed", *known, "--paid", "--not-paid", "--evidence", "x", *by
        )
        for unknown, reason in (
            ("0", "no id"),
            ("x", "no id"),
            (HUGE, "no id"),
            ("7777", "ever sent"),
        ):
            with self.subTest(unknown=unknown):
                self.assert_refused(
                    reason,
                    "review",
                    "resolve",
                    unknown,
                    "--paid",
                    "--evidence",
                    "x",
                    *by,
                )
        withdrawal.refresh_from_db()
        self.assertTrue(withdrawal.needs_review)


class AlarmsCommandTest(CommandTestCase):
    def test_lists_and_acknowledges(self) -> None:
        withdrawal = self.in_review()
        alarm = Alarm.objects.get()
        text = self.run_command("alarms")
        self.assertIn(f"withdrawal {withdrawal.pk} ", text)
        self.assertIn("1 not acknowledged", text)
        done = self.run_command("alarms", "acknowledge", alarm.pk, "--by", "oscar")
        self.assertIn("by oscar", done)
        self.assertIn("0 not acknowledged", self.run_command("alarms", "list"))

    def test_keeps_who_was_first(self) -> None:
        self.in_review()
        alarm = Alarm.objects.get()
        for name in ("oscar", "olga"):
            self.run_command("alarms", "acknowledge", alarm.pk, "--by", name)
        alarm.refresh_from_db()
        self.assertEqual(alarm.acknowledged_by, "oscar")

    def test_refuses_in_one_line(self) -> None:
        self.in_review()
        pk = Alarm.objects.get().pk
        self.assert_refused("who", "alarms", "acknowledge", pk, "--by", " ")
        self.assert_refused("No alarm", "alarms", "acknowledge", 7777, "--by", "oscar")
        self.assert_refused("no id", "alarms", "acknowledge", HUGE, "--by", "oscar")


class CancelCommandTest(CommandTestCase):
    def test_cancels_and_keeps_who_did(self) -> None:
        withdrawal = self.due_withdrawal(60)
        self.run_command("cancel", withdrawal.pk, "--by", "oscar")
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, "CANCELLED")
        self.assertEqual(withdrawal.transitions.last().actor, "oscar")

    def test_refuses_in_one_line(self) -> None:
        begun = self.in_review()
        self.assert_refused("needs_review", "cancel", begun.pk, "--by", "oscar")
        self.assert_refused("No withdrawal", "cancel", 7777, "--by", "oscar")
        self.assert_refused("who", "cancel", begun.pk, "--by", " ")


class ActorTest(CommandTestCase):
    """The actor of a command…"""

    def deeds(self) -> list[tuple[Any, ...]]:
        """Return each command that needs the operator's name, without the name."""
        review, said = self.in_review().pk, ("--evidence", "statement 7")
        pending = self.due_withdrawal(10).pk
        alarm = Alarm.objects.values_list("pk", flat=True)[0]
        wallet = ("--wallet", self.alice.uuid, "--amount", 5)
        return [
            ("review", "resolve", review, "--paid", *said),
            ("review", "record", pending, *said),
            ("record_payment", *wallet, *said),
            ("cancel", pending),
            ("alarms", "acknowledge", alarm),
            ("payouts", "pause", "--reason", "a test"),
            ("payouts", "resume"),
        ]

    def test_has_a_name_that_the_history_can_hold(self) -> None:
        for deed in self.deeds():
            for name in ("", " ", "x" * 151, "oscar\udcff", "os\ncar"):
                with self.subTest(deed=deed, name=name):
                    self.assert_refused("Say who you are", *deed, f"--by={name}")

    def test_may_be_as_long_as_the_column(self) -> None:
        for deed in self.deeds()[3:]:
            with self.subTest(deed=deed):
                self.run_command(*deed, "--by", "x" * 150)
