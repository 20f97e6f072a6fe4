"""Damaged rows and the resolver: it resolves the others and raises an alarm.

The tests damage rows by SQL with the database's rules disabled, like a wrong restore, a
lost page or a manual change.
"""

from __future__ import annotations

from typing import Any
from unittest import skipUnless

from django.conf import settings
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.payouts import damage, sweeps
from wallets.tests import marks
from wallets.tests.fakes import ABLE, BARE, DEDUPES_ONLY, Does
from wallets.tests.raw import execute, insert, rules_off, update
from wallets.tests.unknowns import LEASE, ResolverTestCase
from wallets.tests.unreadable import damage_time

SOUND = 4


@marks.slow
class DamagedRowTest(ResolverTestCase):
    """Bob's withdrawal, which comes first, is damaged; Alice's are not."""

    abilities = ABLE
    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000, self.bob)
        self.damaged = self.due_withdrawal(100, self.bob)
        self.sound: list[Transaction] = []

    def begin(self, *, unknown: bool = True) -> Attempt:
        """Claim all withdrawals, and lose the bank's answers, or call no bank."""
        self.sound = [self.due_withdrawal(100) for _ in range(SOUND)]
        self.time.stand_at(0)
        for row in (self.damaged, *self.sound):
            self.bank.script.append(Does.PAY_SILENTLY)
            self.take_up(row, unknown)
        attempt = self.damaged.attempts.get()
        earlier = self.after(-60)
        Attempt.objects.filter(pk=attempt.pk).update(next_check_at=earlier)
        return attempt

    def check_others_go_on(self, attempt: Attempt) -> Alarm:
        taken = self.resolve(LEASE)
        self.assertEqual(taken, SOUND + 1)
        for row in self.sound:
            self.assert_state(row, State.COMPLETED)
        (alarm,) = Alarm.objects.filter(kind=Alarm.Kind.DAMAGED_ROWS)
        self.assertEqual(alarm.subject, f"attempt {attempt.pk}")
        return alarm

    def check_is_put_aside(self, attempt: Attempt) -> None:
        """Check that it is not checked again at once, and raises no second alarm."""
        asked = len(self.bank.requests)
        self.assertEqual(self.resolve(LEASE + 10), 0)
        self.assertEqual(self.resolve(LEASE + settings.WITHDRAWAL_CHECK_CAP + 10), 1)
        self.assertEqual(Alarm.objects.filter(kind="damaged_rows").count(), 1)
        self.assertEqual(len(self.bank.requests), asked)

    def damage(self, model: type, pk: int, **columns: Any) -> None:
        with rules_off(model):
            update(model, pk, columns)

    def delete(self, model: type, pk: int) -> None:
        with rules_off(model):
            execute(f"DELETE FROM {model._meta.db_table} WHERE id = {pk}")

    # --- the withdrawal ---

    def test_of_a_withdrawal_whose_status_is_unknown(self):
        attempt = self.begin()
        self.damage(Transaction, self.damaged.pk, status="BOGUS")
        alarm = self.check_others_go_on(attempt)
        self.assertEqual(alarm.transaction_id, self.damaged.pk)
        self.check_is_put_aside(attempt)

    def test_of_a_withdrawal_that_has_ended_while_its_attempt_is_open(self):
        attempt = self.begin()
        ended = {"status": "COMPLETED", "executed_at": self.now, "unknown_since": None}
        self.damage(Transaction, self.damaged.pk, **ended)
        self.assertIn("completed", self.check_others_go_on(attempt).detail)
        self.check_is_put_aside(attempt)

    def test_of_a_missing_withdrawal(self):
        attempt = self.begin()
        self.delete(Transaction, self.damaged.pk)
        alarm = self.check_others_go_on(attempt)
        self.assertIsNone(alarm.transaction_id)
        self.assertIn(f"no withdrawal {self.damaged.pk}", alarm.detail)
        self.check_is_put_aside(attempt)

    # --- the attempt ---

    @skipUnless(connection.vendor == "mysql", "others ask only the rules of a change")
    def test_of_an_attempt_that_cannot_be_written_to(self):
        """Its row breaks a rule, so it cannot be postponed: every sweep finds it."""
        attempt = self.begin()
        self.damage(Attempt, attempt.pk, number=0)
        self.check_others_go_on(attempt)
        more = self.due_withdrawal(100)
        self.bank.script.append(Does.PAY_SILENTLY)
        self.time.stand_at(0)
        self.take_up(more, unknown=True)
        self.assertEqual(self.resolve(LEASE + 10), 2)
        self.assert_state(more, State.COMPLETED)
        self.assertEqual(Alarm.objects.filter(kind="damaged_rows").count(), 1)

    @skipUnless(connection.vendor == "sqlite", "other engines have a type for it")
    def test_of_an_attempt_that_cannot_be_read(self):
        attempt = self.begin()
        execute(f"UPDATE wallets_attempt SET reference = 'x' WHERE id = {attempt.pk}")
        self.check_others_go_on(attempt)
        self.check_is_put_aside(attempt)

    @skipUnless(connection.vendor == "sqlite", "other engines refuse another type")
    def test_of_an_attempt_with_a_value_of_another_type(self):
        attempt = self.begin()
        execute(f"UPDATE wallets_attempt SET checks = 'x' WHERE id = {attempt.pk}")
        self.check_others_go_on(attempt)
        self.check_is_put_aside(attempt)

    def test_of_an_attempt_with_the_number_of_another_one(self):
        """Its hold is not found when its money is to be settled."""
        attempt = self.begin()
        update(Attempt, attempt.pk, {"number": 7})
        self.assertEqual(self.resolve(LEASE), SOUND + 1)
        for row in self.sound:
            self.assert_state(row, State.COMPLETED)

    # --- the history ---

    def test_of_a_history_whose_next_row_is_taken(self):
        attempt = self.begin(unknown=False)
        self.damaged.refresh_from_db()
        insert(
            Transition,
            {
                "transaction": self.damaged.pk,
                "sequence": self.damaged.version + 1,
                "event": "accepted",
                "from_state": "sending",
                "to_state": "completed",
                "actor": "a hand",
                "evidence": "",
                "created_at": self.now,
            },
        )
        self.check_others_go_on(attempt)
        self.check_is_put_aside(attempt)

    # --- the wallet ---

    def test_of_a_missing_wallet(self):
        attempt = self.begin()
        self.delete(Wallet, self.bob.pk)
        alarm = self.check_others_go_on(attempt)
        self.assertIn(f"no wallet {self.bob.pk}", alarm.detail)
        self.check_is_put_aside(attempt)

    def test_of_a_wallet_whose_statement_has_a_row_already(self):
        """The damage shows only after the call: the bank's answer is in the alarm."""
        attempt = self.begin()
        update(Wallet, self.bob.pk, {"movement_count": 0})
        alarm = self.check_others_go_on(attempt)
        self.assertIn("the bank said ACCEPTED", alarm.detail)
        self.assert_state(self.damaged, State.UNKNOWN)
        self.check_is_put_aside(attempt)

    def test_of_a_wallet_that_holds_too_little(self):
        attempt = self.begin()
        update(Wallet, self.bob.pk, {"held": 0})
        self.assertIn("ACCEPTED", self.check_others_go_on(attempt).detail)

    # --- other banks, other batches ---

    def test_of_each_kind_of_bank(self):
        for abilities in (BARE, DEDUPES_ONLY):
            with self.subTest(abilities):
                self.bank._abilities = abilities
                self.damaged = self.due_withdrawal(10, self.bob)
                self.begin()
                ended = {"status": "FAILED", "unknown_since": None}
                self.damage(Transaction, self.damaged.pk, **ended)
                self.resolve(LEASE)
                expected = State.COMPLETED
                if abilities is BARE:
                    expected = State.NEEDS_REVIEW
                for row in self.sound:
                    self.assert_state(row, expected)

    def test_of_more_than_one_batch_holds(self):
        """They come first and cannot be postponed; the sweep skips them."""
        attempt = self.begin()
        Attempt.objects.filter(open=True).update(next_check_at=self.after(-30))
        self.delete(Transaction, self.damaged.pk)
        Attempt.objects.filter(pk=attempt.pk).update(next_check_at=self.after(-60))
        with override_settings(WITHDRAWAL_BATCH_SIZE=1):
            self.time.run()
            sweeps.resolve_unknown(bank=self.bank)
        for row in self.sound:
            self.assert_state(row, State.COMPLETED)


class HomelessTest(ResolverTestCase):
    """A PROCESSING withdrawal without an open attempt, of which no sweep would hear…"""

    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def setUp(self) -> None:
        super().setUp()
        self.row, self.sound = self.unknown(), self.unknown()

    def named(self) -> list[str]:
        sweeps.resolve_unknown(bank=self.bank)
        rows = Alarm.objects.filter(kind=Alarm.Kind.DAMAGED_ROWS)
        return list(rows.values_list("subject", flat=True))

    def test_has_an_alarm_if_its_attempt_is_missing(self) -> None:
        with rules_off(Attempt):
            execute(f"DELETE FROM wallets_attempt WHERE transaction_id = {self.row.pk}")
        for _ in range(2):
            self.assertEqual(self.named(), [f"withdrawal {self.row.pk}"])
        self.assertEqual(Alarm.objects.get().transaction_id, self.row.pk)

    def test_has_an_alarm_if_its_attempt_has_ended(self) -> None:
        ended = {"open": None, "outcome": "rejected", "closed_at": self.now}
        update(Attempt, self.row.attempts.get().pk, ended)
        self.assertEqual(self.named(), [f"withdrawal {self.row.pk}"])

    def test_has_its_alarm_although_the_row_cannot_be_read(self) -> None:
        with rules_off(Attempt):
            execute(f"DELETE FROM wallets_attempt WHERE transaction_id = {self.row.pk}")
        damage_time(self.row, "created_at")
        self.assertEqual(self.named(), [f"withdrawal {self.row.pk}"])

    def test_is_none_if_all_is_well_which_costs_one_query(self) -> None:
        self.assertEqual(self.named(), [])
        with CaptureQueriesContext(connection) as ran:
            damage.report_homeless()
        self.assertEqual(len(ran), 1)
