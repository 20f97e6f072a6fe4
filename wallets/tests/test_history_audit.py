"""The history of a withdrawal leads to its state: the audit, and a claim."""

from __future__ import annotations

from itertools import product

from django.db import connection
from django.test.utils import CaptureQueriesContext

from wallets.errors import DamagedRows
from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.ledger.ledger_audit import verify
from wallets.services.payouts import payout, put_aside, sweeps
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import END_OF_TIME, WalletTestCase
from wallets.tests.fakes import LOOKS_UP_ONLY, Does
from wallets.tests.raw import insert, rules_off, update
from wallets.tests.test_drain import SameThreadBank

SOUND = 3


class HistoryAuditTest(WalletTestCase):
    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)
        self.row = self.due_withdrawal(10)
        self.name = f"transaction {self.row.pk}"

    def found(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in verify(now=END_OF_TIME):
            found.setdefault(one.check, []).append(one.row)
        return found

    def run_through(self) -> None:
        """Refuse the first attempt, so that there are three transitions."""
        self.bank.script.append(Does.REFUSE)
        WithdrawalService.execute(self.row.pk, bank=self.bank, now=self.now)
        self.assertEqual(self.found(), {})

    def insert(self, row: Transaction, sequence: int, *states: str) -> None:
        """Insert a transition with these two states, by SQL."""
        columns = {
            "transaction": row.pk,
            "sequence": sequence,
            "event": "retry_now",
            "from_state": states[0],
            "to_state": states[1],
            "actor": "a hand",
            "evidence": "",
            "created_at": self.now,
        }
        insert(Transition, columns)

    def without_history(self) -> Transaction:
        return Transaction.objects.create(
            wallet=self.alice,
            transaction_type="WITHDRAWAL",
            amount=1,
            scheduled_for=self.now,
        )

    def test_finds_nothing_wrong_with_any_state(self) -> None:
        for does in (Does.PAY, Does.REFUSE, Does.LOSE, Does.UNREACHABLE):
            self.bank.script.append(does)
            WithdrawalService.execute(
                self.due_withdrawal(1).pk, bank=self.bank, now=self.now
            )
        WithdrawalService.cancel(self.due_withdrawal(1).pk)
        WithdrawalService.execute(
            self.due_withdrawal(1000).pk, bank=self.bank, now=self.now
        )
        self.assertEqual(self.found(), {})

    def test_finds_a_cancelled_one_that_is_pending_again(self) -> None:
        WithdrawalService.cancel(self.row.pk)
        update(Transaction, self.row.pk, {"status": "PENDING"})
        self.assertEqual(self.found(), {"last_transition": [self.name]})

    def test_finds_a_pending_one_that_is_cancelled(self) -> None:
        update(Transaction, self.row.pk, {"status": "CANCELLED"})
        self.assertEqual(self.found(), {"last_transition": [self.name]})

    def test_finds_a_final_one_that_may_be_tried_again(self) -> None:
        WithdrawalService.execute(
            self.due_withdrawal(1000).pk, bank=self.bank, now=self.now
        )
        last = Transaction.objects.get(status="FAILED")
        update(Transaction, last.pk, {"final": False})
        self.assertEqual(self.found(), {"last_transition": [f"transaction {last.pk}"]})

    def test_finds_a_version_that_is_not_that_of_the_last_transition(self) -> None:
        self.run_through()
        for version, found in ((1, "unknown_transition"), (3, "last_transition")):
            update(Transaction, self.row.pk, {"version": version})
            self.assertIn(self.name, self.found()[found])

    def test_finds_a_history_that_is_lost(self) -> None:
        row = self.without_history()
        self.assertEqual(self.found(), {"last_transition": [f"transaction {row.pk}"]})

    def test_finds_a_gap_and_names_it_once(self) -> None:
        for number in (2, 3):
            self.insert(self.row, number, "pending", "pending")
        update(Transaction, self.row.pk, {"version": 3})
        self.assertEqual(self.found(), {"history_gap": [self.name]})

    def test_finds_a_history_without_its_begin(self) -> None:
        row = self.without_history()
        self.insert(row, 1, "", "pending")
        update(Transaction, row.pk, {"version": 1})
        self.assertEqual(self.found(), {"history_gap": [f"transaction {row.pk}"]})

    def test_finds_a_change_that_does_not_follow_from_the_one_before(self) -> None:
        self.insert(self.row, 1, "cancelled", "pending")
        update(Transaction, self.row.pk, {"version": 1})
        self.assertEqual(self.found(), {"history_gap": [self.name]})

    def test_finds_a_change_before_the_request(self) -> None:
        row = self.without_history()
        self.insert(row, 0, "pending", "pending")
        self.assertEqual(self.found(), {"history_gap": [f"transaction {row.pk}"]})

    def test_finds_a_transition_of_a_deposit(self) -> None:
        made = self.deposit(1)
        self.insert(made, 0, "", "pending")
        self.assertEqual(
            self.found(), {"unknown_transition": [f"transaction {made.pk}"]}
        )


class StateInSqlTest(WalletTestCase):
    books_must_be_right = False

    def test_is_that_of_the_model_for_all_columns(self) -> None:
        statuses = [*Transaction.Status.values, "BOGUS"]
        times = (None, self.now)
        row = self.due_withdrawal(1)
        with rules_off(Transaction):
            for status, final, review, since in product(
                statuses, (False, True), (False, True), times
            ):
                columns = {"status": status, "final": final, "needs_review": review}
                update(Transaction, row.pk, columns | {"unknown_since": since})
                row.refresh_from_db()
                rows = Transaction.objects.values_list(Transaction.state_in_sql())
                expected = row.known_state.value if row.known_state else ""
                with self.subTest(columns, since=since):
                    self.assertEqual(rows.get(pk=row.pk), (expected,))


class RevivedTest(WalletTestCase):
    """A withdrawal whose row was changed to be paid, although it has ended…"""

    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()
        self.bank = SameThreadBank(LOOKS_UP_ONLY)
        self.deposit(100)
        self.row = self.due_withdrawal(10)
        WithdrawalService.cancel(self.row.pk)
        update(Transaction, self.row.pk, {"status": "PENDING"})
        put_aside._until.clear()
        self.addCleanup(put_aside._until.clear)

    def test_is_put_aside_with_an_alarm_and_the_others_are_paid(self) -> None:
        sound = [self.due_withdrawal(10) for _ in range(SOUND)]
        sweeps.pay_pending(bank=self.bank)
        self.row.refresh_from_db()
        self.assertEqual(self.row.status, "PENDING")
        paid = Transaction.objects.filter(pk__in=[one.pk for one in sound])
        self.assertEqual(set(paid.values_list("status", flat=True)), {"COMPLETED"})
        self.assertEqual(len(self.bank.paid), SOUND)
        alarm = Alarm.objects.get(kind=Alarm.Kind.DAMAGED_ROWS)
        self.assertEqual(alarm.transaction_id, self.row.pk)

    def test_is_not_claimed_if_its_history_is_lost(self) -> None:
        made = Transaction.objects.create(
            wallet=self.alice,
            transaction_type="WITHDRAWAL",
            amount=1,
            scheduled_for=self.now,
            version=1,
        )
        with self.assertRaisesRegex(DamagedRows, "says None"):
            rows = Transaction.objects.filter(pk=made.pk)
            payout.claim(rows, bank=self.bank.abilities, limit=1, now=self.now)

    def test_is_not_claimed_alone(self) -> None:
        rows = Transaction.objects.filter(pk=self.row.pk)
        with self.assertRaisesRegex(DamagedRows, "pending.*cancelled"):
            payout.claim(rows, bank=self.bank.abilities, limit=1, now=self.now)
        self.assertEqual(self.row.attempts.count(), 0)

    def test_is_found_by_the_claim_without_a_further_statement(self) -> None:
        """Of alarms and transitions there is one statement for a batch."""
        rows = [self.due_withdrawal(1) for _ in range(SOUND)]
        due = Transaction.objects.filter(pk__in=[one.pk for one in rows])
        with CaptureQueriesContext(connection) as ran:
            payout.claim(due, bank=self.bank.abilities, limit=9, now=self.now)
        read = [one["sql"] for one in ran if "wallets_alarm" in one["sql"]]
        self.assertEqual(len(read), 1)
        self.assertIn("wallets_transition", read[0])
