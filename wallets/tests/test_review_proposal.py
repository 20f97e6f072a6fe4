"""REVIEW_TWO_PERSONS: one person proposes a refund, and another one confirms it."""

from __future__ import annotations

import io
from functools import partial

from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import override_settings

from wallets.errors import IllegalTransition, InvalidInput
from wallets.models.review_proposal import ReviewProposal
from wallets.models.transaction import Transaction
from wallets.services.operations import review, review_proposal
from wallets.services.payouts import resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.base import OSCAR, CommittingTestCase, WalletTestCase
from wallets.tests.fakes import BARE, Does, FakeBank
from wallets.tests.races import FEW, rounds

OLGA = "operator olga"


class InReview:
    """Test cases with a withdrawal of 100 in review."""

    def in_review(self) -> Transaction:
        bank = FakeBank(BARE)
        bank.script.append(Does.LOSE)
        withdrawal = self.due_withdrawal(100)
        WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.now)
        resolver.resolve_due(bank=bank, limit=10, now=self.after(60))
        return withdrawal

    def not_paid(self, withdrawal: Transaction, actor: str, user_id=None):
        evidence = f"letter to {actor}"
        return review.resolve(
            withdrawal.pk, paid=False, evidence=evidence, actor=actor, user_id=user_id
        )


@override_settings(REVIEW_TWO_PERSONS=True)
class TwoPersonsTest(InReview, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.withdrawal = self.in_review()

    def test_the_first_proposes_and_nothing_moves(self):
        before = Transaction.objects.get(pk=self.withdrawal.pk).version
        proposed = self.not_paid(self.withdrawal, OSCAR, user_id=7)
        self.assertTrue(proposed.needs_review)
        self.assertEqual(proposed.version, before)
        self.assert_money(self.alice, balance=900, held=100)
        self.assertEqual(list(review.waiting()), [self.withdrawal])
        row = ReviewProposal.objects.get()
        self.assertEqual(row.transaction_id, self.withdrawal.pk)
        self.assertEqual((row.proposed_by, row.user_id), (OSCAR, 7))
        self.assertEqual(row.evidence, f"letter to {OSCAR}")
        self.assertEqual(row.attempt_number, 1)

    def test_another_confirms_and_both_stay_in_the_history(self):
        self.not_paid(self.withdrawal, OSCAR)
        done = self.not_paid(self.withdrawal, OLGA)
        self.assertEqual((done.status, done.final), ("FAILED", True))
        self.assert_money(self.alice, balance=1000)
        row = done.transitions.get(event="resolve_not_paid")
        self.assertEqual(row.actor, OLGA)
        for words in (f"letter to {OLGA}", OSCAR, f"letter to {OSCAR}"):
            self.assertIn(words, row.evidence)

    def test_the_same_person_cannot_confirm(self):
        same = (
            (OSCAR, None, OSCAR, None),
            (OSCAR, None, "oscar", None),  # first the console, then a command
            ("oscar", None, " Operator  OSCAR ", None),
            (OSCAR, 7, "oscar", None),
            ("operator oscar", 7, "operator renamed", 7),
        )
        for first, first_id, second, second_id in same:
            with self.subTest(first=first, second=second):
                withdrawal = self.in_review()
                self.not_paid(withdrawal, first, first_id)
                with self.assertRaisesMessage(InvalidInput, "another person"):
                    self.not_paid(withdrawal, second, second_id)
                withdrawal.refresh_from_db()
                self.assertTrue(withdrawal.needs_review)

    def test_two_logins_are_two_persons_whatever_they_are_called(self):
        self.not_paid(self.withdrawal, "operator oscar", 7)
        done = self.not_paid(self.withdrawal, "operator Oscar", 8)
        self.assertEqual(done.status, "FAILED")

    def test_paid_takes_one_whatever_was_proposed(self):
        self.not_paid(self.withdrawal, OSCAR)
        done = review.resolve(
            self.withdrawal.pk, paid=True, evidence="statement 7", actor=OSCAR
        )
        self.assertEqual(done.status, "COMPLETED")
        self.assert_money(self.alice, balance=900)
        with self.assertRaises(IllegalTransition):
            self.not_paid(self.withdrawal, OLGA)

    def test_a_proposal_needs_evidence_and_a_name(self):
        for evidence, actor in ((" ", OSCAR), ("letter", " ")):
            with self.subTest(evidence=evidence), self.assertRaises(InvalidInput):
                review.resolve(
                    self.withdrawal.pk, paid=False, evidence=evidence, actor=actor
                )
        self.assertFalse(ReviewProposal.objects.exists())

    def test_what_does_not_wait_for_a_review_is_not_proposed(self):
        done = self.due_withdrawal(5)
        WithdrawalService.execute(done.pk, bank=self.bank, now=self.now)
        with self.assertRaises(IllegalTransition):
            self.not_paid(done, OSCAR)
        self.assertFalse(ReviewProposal.objects.exists())

    def test_a_proposal_binds_nobody_once_one_person_is_enough(self):
        self.not_paid(self.withdrawal, OSCAR)
        with override_settings(REVIEW_TWO_PERSONS=False):
            self.assertEqual(self.not_paid(self.withdrawal, OSCAR).status, "FAILED")

    def test_the_admin_takes_two_as_well(self):
        url = f"/admin/wallets/transaction/{self.withdrawal.pk}/resolve/"
        form = {"outcome": "not_paid", "evidence": "letter"}
        for name, status in (("a", "PROCESSING"), ("a", "PROCESSING"), ("b", "FAILED")):
            user, _ = User.objects.get_or_create(
                username=name, is_staff=True, is_superuser=True
            )
            self.client.force_login(user)
            self.client.post(url, form)
            self.withdrawal.refresh_from_db()
            self.assertEqual(self.withdrawal.status, status)


@override_settings(REVIEW_TWO_PERSONS=True)
class TwoPersonsCommandTest(InReview, WalletTestCase):
    def resolve(self, pk: int, by: str) -> str:
        words = ("--not-paid", "--evidence", "the bank's letter", "--by", by)
        return self.call("resolve", str(pk), *words)

    def call(self, *words: str) -> str:
        out = io.StringIO()
        call_command("review", *words, stdout=out)
        return out.getvalue()

    def test_says_who_must_do_what_next(self):
        self.deposit(1000)
        pk = self.in_review().pk
        self.assertIn("another person must confirm it", self.resolve(pk, "oscar"))
        self.assertIn(
            "proposed as not paid by oscar: the bank's letter", self.call("list")
        )
        with self.assertRaisesMessage(CommandError, "another person must confirm it"):
            self.resolve(pk, "Oscar")
        self.assertIn("FAILED", self.resolve(pk, "olga"))


@override_settings(REVIEW_TWO_PERSONS=True)
@marks.slow
class TwoPersonsRaceTest(InReview, CommittingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(10_000)

    def judge(self, withdrawal: Transaction, results: list) -> None:
        withdrawal.refresh_from_db()
        released = withdrawal.movements.filter(kind="release").count()
        self.assertEqual(released, int(withdrawal.status == "FAILED"))
        self.assertEqual(withdrawal.review_proposals.count(), 1)

    def test_two_who_confirm_at_once_give_back_once(self):
        def prepare(_number: int) -> Transaction:
            withdrawal = self.in_review()
            self.not_paid(withdrawal, OSCAR)
            return withdrawal

        def judge(withdrawal: Transaction, results: list) -> None:
            self.judge(withdrawal, results)
            self.assertEqual(withdrawal.status, "FAILED")
            refused = [one for one in results if isinstance(one, IllegalTransition)]
            self.assertEqual(len(refused), 1, results)

        confirm = [partial(self.confirm, actor=actor) for actor in (OLGA, "piet")]
        rounds(FEW, prepare, confirm, judge)

    def test_one_person_who_clicks_twice_does_not_confirm(self):
        def judge(withdrawal: Transaction, results: list) -> None:
            self.judge(withdrawal, results)
            self.assertEqual(withdrawal.status, "PROCESSING")
            refused = [one for one in results if isinstance(one, InvalidInput)]
            self.assertEqual(len(refused), 1, results)

        press = [partial(self.confirm, actor=OSCAR)] * 2
        rounds(FEW, lambda _number: self.in_review(), press, judge)

    def confirm(self, withdrawal: Transaction, actor: str) -> Transaction:
        return self.not_paid(withdrawal, actor)


class SamePersonTest(WalletTestCase):
    def test_a_user_may_be_called_operator(self):
        proposal = ReviewProposal(proposed_by="operator operator")
        same = partial(review_proposal.is_same_person, proposal, user_id=None)
        self.assertTrue(same(actor="operator"))
        self.assertFalse(same(actor="oscar"))
