"""Withdrawals in review, which an operator resolves with evidence."""

from __future__ import annotations

from wallets.errors import IllegalTransition, InvalidInput
from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.services.operations import alarm, review
from wallets.services.payouts import payout, resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.tests.fakes import BARE, Does, FakeBank
from wallets.utils.bank.interface import Answer, Outcome

STATEMENT = "bank statement of 3 January, line 12"


class ReviewTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bank = FakeBank(BARE)
        self.deposit(1000)

    def execute(self, does: Does) -> Transaction:
        withdrawal = self.due_withdrawal(100)
        self.bank.script.append(does)
        return WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)

    def in_review(self, at: float = 60) -> Transaction:
        withdrawal = self.execute(Does.LOSE)
        resolver.resolve_due(bank=self.bank, limit=10, now=self.after(at))
        return withdrawal

    def resolve(self, withdrawal: Transaction, *, paid: bool, **changes) -> Transaction:
        words = {"evidence": STATEMENT, "actor": OSCAR} | changes
        return review.resolve(withdrawal.pk, paid=paid, **words)

    def test_lists_what_waits_longest_first(self):
        first, second = self.in_review(), self.in_review(at=120)
        self.execute(Does.LOSE)
        self.assertEqual(list(review.waiting()), [first, second])

    def test_settles_what_was_paid(self):
        done = self.resolve(self.in_review(), paid=True)
        self.assertEqual((done.status, done.needs_review), ("COMPLETED", False))
        self.assertEqual(done.executed_at, self.now)
        self.assert_money(self.alice, balance=900)
        self.assertEqual(list(review.waiting()), [])

    def test_releases_finally_what_was_not_paid(self):
        done = self.resolve(self.in_review(), paid=False)
        self.assertEqual((done.status, done.final), ("FAILED", True))
        self.assertEqual(done.failure_code, "resolved_not_paid")
        self.assertIsNone(done.next_attempt_at)
        self.assert_money(self.alice, balance=1000)

    def test_keeps_who_said_what_on_what_evidence(self):
        for paid, event in ((True, "resolve_paid"), (False, "resolve_not_paid")):
            done = self.resolve(self.in_review(), paid=paid)
            row = done.transitions.get(event=event)
            self.assertEqual((row.actor, row.evidence), (OSCAR, STATEMENT))
            self.assertEqual(row.from_state, "needs_review")
            self.assertEqual(row.attempt_number, 1)
            self.assertEqual(done.third_party_response, "")

    def test_acknowledges_the_alarm_that_asked_for_it(self):
        kinds = alarm.unacknowledged().values_list("transaction_id", "kind")
        first, other = self.in_review(), self.in_review()
        self.resolve(first, paid=False)
        self.assertEqual(list(kinds), [(other.pk, "needs_review")])
        self.assertEqual(first.alarms.get().acknowledged_by, OSCAR)

    def test_leaves_other_alarms_open(self):
        withdrawal = self.in_review()
        alarm.raise_alarm(
            Alarm.Kind.PAID_TWICE, withdrawal, attempt_number=1, detail="x"
        )
        self.resolve(withdrawal, paid=True)
        self.assertEqual(alarm.unacknowledged().get().kind, "paid_twice")

    def test_refuses_without_evidence_or_name(self):
        withdrawal = self.in_review()
        for field, changes in (
            ("evidence", {"evidence": ""}),
            ("evidence", {"evidence": " \n"}),
            ("evidence", {"evidence": "x" * 2001}),
            ("actor", {"actor": " "}),
        ):
            with self.subTest(**changes), self.assertRaises(InvalidInput) as got:
                self.resolve(withdrawal, paid=True, **changes)
            self.assertEqual(got.exception.field, field)
        withdrawal.refresh_from_db()
        self.assertTrue(withdrawal.needs_review)

    def test_refuses_what_does_not_wait_for_it(self):
        for does in (Does.PAY, Does.REFUSE, Does.LOSE):
            withdrawal = self.execute(does)
            before = withdrawal.version
            for paid in (True, False):
                with (
                    self.subTest(does, paid=paid),
                    self.assertRaises(IllegalTransition),
                ):
                    self.resolve(withdrawal, paid=paid)
            withdrawal.refresh_from_db()
            self.assertEqual(withdrawal.version, before)

    def test_refuses_a_second_conclusion(self):
        withdrawal = self.in_review()
        self.resolve(withdrawal, paid=False)
        with self.assertRaises(IllegalTransition):
            self.resolve(withdrawal, paid=False)
        self.assert_money(self.alice, balance=1000)

    def test_raises_an_alarm_for_a_payment_of_released_money(self):
        withdrawal = self.execute(Does.REFUSE)
        for _ in range(2):
            with self.assertRaises(IllegalTransition):
                self.resolve(withdrawal, paid=True)
        alarm = withdrawal.alarms.get()
        self.assertEqual(alarm.kind, Alarm.Kind.PAID_AFTER_RELEASE)
        self.assertEqual(alarm.detail, f"{OSCAR}: {STATEMENT}")
        self.assert_money(self.alice, balance=1000)

    def test_raises_none_when_nothing_contradicts(self):
        for does, paid in ((Does.REFUSE, False), (Does.PAY, True), (Does.LOSE, True)):
            withdrawal = self.execute(does)
            with self.subTest(does), self.assertRaises(IllegalTransition):
                self.resolve(withdrawal, paid=paid)
            self.assertEqual(withdrawal.alarms.count(), 0)

    def test_does_not_find_what_was_never_sent(self):
        for pk in (self.due_withdrawal(5).pk, self.deposit(5).pk, 10**9):
            with self.subTest(pk=pk), self.assertRaises(Transaction.DoesNotExist):
                review.resolve(pk, paid=True, evidence=STATEMENT, actor=OSCAR)

    def test_is_ended_by_a_late_answer_of_the_sender(self):
        self.deposit(100)
        withdrawal = self.due_withdrawal(100)
        rows = Transaction.objects.filter(pk=withdrawal.pk)
        (sending,) = payout.claim(
            rows, bank=self.bank.abilities, limit=1, now=self.now
        ).sendings
        resolver.resolve_due(bank=self.bank, limit=10, now=self.after(60))
        payout.record([(sending, Answer(Outcome.ACCEPTED, "paid"))], now=self.after(61))
        with self.assertRaises(IllegalTransition):
            self.resolve(withdrawal, paid=False)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, "COMPLETED")
