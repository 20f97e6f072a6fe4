"""An operator records payments of the bank that the ledger does not have."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial
from unittest import mock

from django.conf import settings
from django.test import override_settings

from wallets.errors import (
    IdempotencyKeyReused,
    IllegalTransition,
    InsufficientBalance,
    InvalidAmount,
    InvalidIdempotencyKey,
    InvalidInput,
)
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.operations import alarm, record, review
from wallets.services.payouts import claiming, drain, resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals import reference as reference_service
from wallets.services.withdrawals.reference import reference_of
from wallets.tests import builders, marks
from wallets.tests.api import nothing_written
from wallets.tests.base import OSCAR, CommittingTestCase, WalletTestCase
from wallets.tests.fakes import BARE, Does, FakeBank
from wallets.tests.races import FEW, race, rounds

STATEMENT = "bank statement of 3 January, line 12"
KEY = uuid.UUID("550e8400-e29b-41d4-a716-446655440001")


class RecordTestCase(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    def failed(self, amount: int = 100) -> Transaction:
        withdrawal = self.due_withdrawal(amount)
        self.bank.script.append(Does.REFUSE)
        return WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)

    def record(self, withdrawal: Transaction, **changes) -> Transaction:
        words = {"evidence": STATEMENT, "actor": OSCAR} | changes
        return record.record_paid(withdrawal.pk, **words)

    def assert_recorded(self, withdrawal: Transaction, number: int) -> Attempt:
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, "COMPLETED")
        self.assertEqual(withdrawal.retry_count, number - 1)
        self.assertEqual(withdrawal.failure_code, "")
        self.assertIsNone(withdrawal.next_attempt_at)
        row = withdrawal.transitions.last()
        self.assertEqual((row.event, row.to_state), ("record_paid", "completed"))
        self.assertEqual((row.actor, row.evidence), (OSCAR, STATEMENT))
        self.assertEqual(row.attempt_number, number)
        attempt = withdrawal.attempts.last()
        self.assertEqual((attempt.number, attempt.outcome), (number, "accepted"))
        self.assertEqual((attempt.open, attempt.sends), (None, 0))
        said = f"paid under reference {attempt.reference}"
        self.assertIn(attempt.answer, ("", said))  # the bank's own answer is not known
        movements = withdrawal.movements.filter(attempt_number=number)
        self.assertEqual(
            list(movements.values_list("kind", flat=True)), ["hold", "settle"]
        )
        return attempt


class RecordPaidTest(RecordTestCase):
    def test_completes_a_pending_withdrawal_and_sends_nothing(self):
        withdrawal = self.due_withdrawal(100)
        self.record(withdrawal)
        attempt = self.assert_recorded(withdrawal, 1)
        self.assertEqual(
            attempt.reference, reference_of(withdrawal, self.alice.uuid, 1)
        )
        self.assert_money(self.alice, balance=900)
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        self.assertEqual(self.bank.requests, [])

    def test_completes_one_that_is_not_due_yet(self):
        withdrawal = WithdrawalService.schedule(self.alice.uuid, 100, self.after(9999))
        self.record(withdrawal)
        self.assert_recorded(withdrawal, 1)

    def test_completes_a_failed_one_before_its_retry(self):
        withdrawal = self.failed()
        self.record(withdrawal)
        attempt = self.assert_recorded(withdrawal, 2)
        self.assertEqual(
            attempt.reference, reference_of(withdrawal, self.alice.uuid, 2)
        )
        self.assert_money(self.alice, balance=900)

    def test_takes_the_attempt_that_the_reference_is_of(self):
        """The ledger does not have the first attempt, either."""
        withdrawal = self.due_withdrawal(100)
        reference = reference_of(withdrawal, self.alice.uuid, 3)
        self.record(withdrawal, reference=reference)
        attempt = self.assert_recorded(withdrawal, 3)
        self.assertEqual(attempt.reference, reference)

    def test_says_when_it_was_paid(self):
        now, early = self.due_withdrawal(1), self.due_withdrawal(1)
        self.record(now)
        now.refresh_from_db()
        self.assertGreaterEqual(now.executed_at, self.now)

        paid_at = self.now - timedelta(hours=5)
        self.record(early, paid_at=paid_at)
        early.refresh_from_db()
        self.assertEqual(early.executed_at, paid_at)
        self.assertEqual(early.attempts.get().started_at, paid_at)

    def test_refuses_every_other_state_and_writes_nothing(self):
        done = self.due_withdrawal(100)
        WithdrawalService.execute(done.pk, bank=self.bank, now=self.now)
        self.bank.script.append(Does.LOSE)
        unknown = self.due_withdrawal(100)
        WithdrawalService.execute(unknown.pk, bank=self.bank, now=self.now)
        cancelled = WithdrawalService.cancel(self.due_withdrawal(100).pk)
        final = self.due_withdrawal(10**6)
        WithdrawalService.execute(final.pk, bank=self.bank, now=self.now)
        for withdrawal in (done, unknown, cancelled, final):
            withdrawal.refresh_from_db()
            with (
                self.subTest(withdrawal.state),
                nothing_written(),
                self.assertRaises(IllegalTransition) as got,
            ):
                self.record(withdrawal)
            self.assertEqual(got.exception.state, withdrawal.state.value)

    def test_is_not_done_twice(self):
        withdrawal = self.due_withdrawal(100)
        self.record(withdrawal)
        with nothing_written(), self.assertRaises(IllegalTransition):
            self.record(withdrawal)
        self.assert_money(self.alice, balance=900)

    def test_refuses_more_than_there_is_and_says_what_to_do(self):
        withdrawal = self.due_withdrawal(1001)
        with nothing_written(), self.assertRaises(InsufficientBalance) as got:
            self.record(withdrawal)
        self.assertIn("1000 minor units available, 1001 needed", str(got.exception))
        self.assertIn("deposit what is missing", str(got.exception))
        self.deposit(1)
        self.record(withdrawal)
        self.assert_money(self.alice, balance=0)

    def test_refuses_the_reference_of_another_withdrawals_attempt(self):
        failed = self.failed()
        known, other = failed.attempts.get().reference, self.due_withdrawal(100)
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            self.record(other, reference=known)
        self.assertEqual(got.exception.field, "reference")
        said = f"attempt 1 of withdrawal {failed.pk}, rejected"
        self.assertIn(said, str(got.exception))

    def test_refuses_a_reference_that_its_key_does_not_lead_to(self):
        withdrawal = self.due_withdrawal(100)
        other = self.due_withdrawal(100)
        reference = reference_of(other, self.alice.uuid, 1)
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            self.record(withdrawal, reference=reference)
        own = reference_of(withdrawal, self.alice.uuid, 1)
        self.assertIn(str(own), str(got.exception))
        self.assertIn("another payment's", str(got.exception))

    def test_refuses_without_evidence_or_name_and_a_time_to_come(self):
        withdrawal = self.due_withdrawal(100)
        for field, changes in (
            ("evidence", {"evidence": " \n"}),
            ("evidence", {"evidence": "x" * 2001}),
            ("actor", {"actor": " "}),
            ("paid_at", {"paid_at": self.after(3600)}),
            ("paid_at", {"paid_at": self.now.replace(tzinfo=None)}),
        ):
            with (
                self.subTest(field=field),
                nothing_written(),
                self.assertRaises(InvalidInput) as got,
            ):
                self.record(withdrawal, **changes)
            self.assertEqual(got.exception.field, field)

    def test_does_not_find_deposits_and_unknown_ids(self):
        for pk in (self.deposit(5).pk, 10**9):
            with self.subTest(pk=pk), self.assertRaises(Transaction.DoesNotExist):
                record.record_paid(pk, evidence=STATEMENT, actor=OSCAR)

    def test_ends_the_alarm_that_the_books_do_not_have_it(self):
        withdrawal = self.due_withdrawal(100)
        reference = reference_of(withdrawal, self.alice.uuid, 1)
        for each in (reference, uuid.uuid4()):
            alarm.raise_alarm(
                Alarm.Kind.UNKNOWN_PAYMENT, subject=f"reference {each}", detail="100"
            )
        self.record(withdrawal, reference=reference)
        ended = Alarm.objects.get(subject=f"reference {reference}")
        self.assertEqual(ended.acknowledged_by, OSCAR)
        self.assertEqual(alarm.unacknowledged().count(), 1)


class FewerRetriesTest(RecordTestCase):
    """WITHDRAWAL_MAX_RETRIES was lowered while a withdrawal waited for a late retry…"""

    # More than those whose references are known of every withdrawal.
    MADE = reference_service.KNOWN_ATTEMPTS + 1

    def setUp(self) -> None:
        super().setUp()
        with override_settings(WITHDRAWAL_MAX_RETRIES=self.MADE):
            self.row = self.failed()
            for number in range(2, self.MADE + 1):
                self.bank.script.append(Does.REFUSE)
                self.row = WithdrawalService.execute(
                    self.row.pk, bank=self.bank, now=self.after(number * 10**6)
                )
        self.enterContext(override_settings(WITHDRAWAL_MAX_RETRIES=1))

    def test_and_the_next_attempt_can_be_recorded_all_the_same(self):
        self.record(self.row)
        self.assert_recorded(self.row, self.MADE + 1)

    def test_and_the_reference_of_the_next_attempt_is_known(self):
        reference = reference_of(self.row, self.alice.uuid, self.MADE + 1)
        found = reference_service.find_waiting(reference, self.alice.pk)
        self.assertEqual(found, self.row)
        self.record(self.row, reference=reference)
        self.assert_recorded(self.row, self.MADE + 1)


class RecordPaymentTest(RecordTestCase):
    """A payment whose withdrawal the ledger does not have."""

    def enter(self, amount: int = 100, **changes) -> Transaction:
        words = {"evidence": STATEMENT, "actor": OSCAR} | changes
        return record.record_payment(self.alice.uuid, amount, **words)

    def ask(self, at: float = 60, amount: int = 100, key: uuid.UUID = KEY):
        """Repeat the client's request."""
        return builders.schedule_receipt(
            self.alice.uuid, amount, self.after(at), key, now=self.now
        )

    def reference(self, number: int = 1) -> uuid.UUID:
        request = Transaction(idempotency_key=KEY)
        return reference_of(request, self.alice.uuid, number)

    def assert_replayed(self, made: Transaction) -> None:
        """Check the replay for any time, also one that has passed."""
        for at in (60, -3600):
            again = self.ask(at)
            self.assertEqual((again.transaction.pk, again.replayed), (made.pk, True))
        self.assertEqual(
            Transaction.objects.filter(transaction_type="WITHDRAWAL").count(), 1
        )
        self.assertEqual(self.bank.requests, [])

    def test_makes_and_completes_it_under_the_clients_key(self):
        made = self.enter(key=KEY)
        attempt = self.assert_recorded(made, 1)
        self.assertEqual(attempt.reference, self.reference())
        self.assertEqual(made.idempotency_key, KEY)
        self.assertEqual(
            list(made.transitions.values_list("event", flat=True)),
            ["schedule", "record_paid"],
        )
        self.assert_money(self.alice, balance=900)

    def test_answers_a_client_that_asks_again_with_it(self):
        self.assert_replayed(self.enter(key=KEY))

    def test_answers_so_too_if_only_the_reference_is_known(self):
        for number in range(1, settings.WITHDRAWAL_MAX_RETRIES + 2):
            with self.subTest(number=number):
                made = self.enter(reference=self.reference(number))
                self.assertNotEqual(made.idempotency_key, KEY)
                again = self.ask()
                self.assertEqual(
                    (again.transaction.pk, again.replayed), (made.pk, True)
                )
                made.attempts.update(reference=uuid.uuid4())

    def test_answers_so_too_after_fewer_retries_are_allowed(self):
        made = self.enter(reference=self.reference(3))
        with override_settings(WITHDRAWAL_MAX_RETRIES=1):
            self.assert_replayed(made)

    def test_replays_a_known_time_for_that_time_only(self):
        made = self.enter(key=KEY, scheduled_for=self.after(60))
        again = self.ask(60)
        self.assertEqual((again.transaction.pk, again.replayed), (made.pk, True))
        with self.assertRaises(IdempotencyKeyReused):
            self.ask(61)

    def test_leaves_the_key_to_the_same_request_only(self):
        self.enter(key=KEY)
        with self.assertRaises(IdempotencyKeyReused):
            self.ask(amount=101)
        with self.assertRaises(IdempotencyKeyReused):
            WithdrawalService.schedule(
                self.bob.uuid, 100, self.after(60), KEY, now=self.now
            )

    def test_leaves_the_reference_to_the_same_request_only(self):
        self.enter(reference=self.reference())
        with self.assertRaises(IdempotencyKeyReused):
            self.ask(amount=101)

    def test_takes_the_attempt_that_the_reference_is_of(self):
        made = self.enter(key=KEY, reference=self.reference(2))
        self.assert_recorded(made, 2)

    def test_is_planned_for_when_it_was_paid_unless_more_is_known(self):
        paid_at = self.now - timedelta(hours=2)
        made = self.enter(key=KEY, paid_at=paid_at)
        self.assertEqual((made.scheduled_for, made.executed_at), (paid_at, paid_at))
        other = self.enter(key=uuid.uuid4(), paid_at=paid_at, scheduled_for=self.now)
        self.assertEqual((other.scheduled_for, other.executed_at), (self.now, paid_at))

    def test_refuses_a_key_that_the_books_have(self):
        known = self.ask().transaction
        with nothing_written(), self.assertRaises(IdempotencyKeyReused) as got:
            self.enter(key=KEY)
        self.assertIn(f"transaction {known.pk} under this key", str(got.exception))

    def test_says_by_which_way_a_payment_under_a_known_key_is_recorded(self):
        """Each way that it says is then taken."""
        known = self.ask().transaction
        self.assertIn(f"review record {known.pk}", self.refusal())
        WithdrawalService.cancel(known.pk)
        self.assertIn("without the key, by its reference", self.refusal())
        made = self.enter(reference=self.reference())
        self.assert_recorded(made, 1)
        self.assertEqual(self.ask().transaction.pk, known.pk)

    def test_says_that_there_is_nothing_to_record(self):
        known = self.ask().transaction
        WithdrawalService.execute(known.pk, bank=self.bank, now=self.after(60))
        self.assertIn("has it as paid", self.refusal())

    def test_says_that_an_open_attempt_comes_first(self):
        known = self.ask().transaction
        self.bank.script.append(Does.LOSE)
        WithdrawalService.execute(known.pk, bank=self.bank, now=self.after(60))
        self.assertIn(f"review resolve {known.pk} --paid", self.refusal())

    def refusal(self) -> str:
        with nothing_written(), self.assertRaises(IdempotencyKeyReused) as got:
            self.enter(key=KEY)
        return str(got.exception)

    def test_refuses_a_reference_that_the_key_does_not_lead_to(self):
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            self.enter(key=KEY, reference=uuid.uuid4())
        self.assertIn(str(self.reference(4)), str(got.exception))

    def test_refuses_a_reference_that_the_books_have(self):
        known = self.failed()
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            self.enter(reference=known.attempts.get().reference)
        self.assertIn(f"withdrawal {known.pk}", str(got.exception))

    def test_refuses_a_reference_that_a_withdrawal_waits_to_be_paid_under(self):
        known = self.ask().transaction
        for number in (1, 4):
            with nothing_written(), self.assertRaises(InvalidInput) as got:
                self.enter(reference=self.reference(number))
            self.assertIn(f"Withdrawal {known.pk} (PENDING)", str(got.exception))
        WithdrawalService.cancel(known.pk)
        self.enter(reference=self.reference())

    def test_refuses_a_reference_of_one_whose_earlier_attempt_is_open(self):
        """The backup was taken during attempt 1; the bank has paid attempt 2."""
        known = self.ask().transaction
        self.bank.script.append(Does.LOSE)
        WithdrawalService.execute(known.pk, bank=self.bank, now=self.after(60))
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            self.enter(reference=self.reference(2))
        self.assertIn(f"Withdrawal {known.pk} (PROCESSING)", str(got.exception))
        self.assertIn(f"review resolve {known.pk} --paid", str(got.exception))

    def test_refuses_a_reference_of_one_that_an_operator_concluded_as_paid(self):
        """Otherwise one payment would be in the books twice."""
        self.bank = FakeBank(BARE)
        known = self.ask().transaction
        self.bank.script.append(Does.LOSE)
        WithdrawalService.execute(known.pk, bank=self.bank, now=self.after(60))
        resolver.resolve_due(bank=self.bank, limit=9, now=self.after(3600))
        review.resolve(known.pk, paid=True, evidence=STATEMENT, actor=OSCAR)
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            self.enter(reference=self.reference(2))
        self.assertIn(f"Withdrawal {known.pk} (COMPLETED)", str(got.exception))

    def test_refuses_without_key_and_reference(self):
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            self.enter()
        self.assertIn("paid again", str(got.exception))

    def test_refuses_invalid_payments(self):
        for error, changes in (
            (InvalidAmount, {"amount": 0}),
            (InvalidIdempotencyKey, {"key": "x"}),
            (InvalidInput, {"evidence": " "}),
            (InvalidInput, {"actor": " "}),
            (InvalidInput, {"paid_at": self.after(60)}),
            (InvalidInput, {"scheduled_for": self.now.replace(tzinfo=None)}),
            (InsufficientBalance, {"amount": 1001}),
        ):
            with (
                self.subTest(**changes),
                nothing_written(),
                self.assertRaises(error),
            ):
                self.enter(**{"key": KEY, **changes})
        with nothing_written(), self.assertRaises(Wallet.DoesNotExist):
            record.record_payment(
                uuid.uuid4(), 1, key=KEY, evidence=STATEMENT, actor=OSCAR
            )

    def test_is_final(self):
        made = self.enter(key=KEY)
        self.assertIs(made.state, State.COMPLETED)
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.execute(made.pk, bank=self.bank)


@marks.slow
class RecordRaceTest(CommittingTestCase):
    def test_against_a_claim_has_one_winner(self):
        """The withdrawal is sent or recorded, never both."""
        self.deposit(FEW)

        def prepare(_number: int) -> Transaction:
            return self.due_withdrawal(1)

        def recorded(row: Transaction) -> Transaction:
            return record.record_paid(row.pk, evidence=STATEMENT, actor=OSCAR)

        def executed(row: Transaction) -> Transaction:
            return WithdrawalService.execute(row.pk, bank=self.bank, now=self.now)

        def judge(row: Transaction, results: list) -> None:
            by_hand, by_claim = results
            sent = row.attempts.get().sends
            if sent:
                self.assertIsInstance(by_hand, IllegalTransition)
                self.assertEqual(by_claim.status, "COMPLETED")
            else:
                self.assertIsInstance(by_claim, Transaction.DoesNotExist)
                self.assertEqual(by_hand.status, "COMPLETED")
            self.assertEqual(row.movements.count(), 2)

        rounds(FEW, prepare, [recorded, executed], judge)
        self.assert_money(self.alice, balance=0)

    def test_by_two_operators_at_once_is_one(self):
        self.deposit(1000)
        row = self.due_withdrawal(100)
        by_hand = partial(record.record_paid, row.pk, evidence=STATEMENT, actor=OSCAR)
        results = race(by_hand, by_hand, by_hand)
        refused = [each for each in results if isinstance(each, IllegalTransition)]
        self.assertEqual(len(refused), 2, results)
        self.assert_money(self.alice, balance=900)

    def test_against_the_client_that_asks_again_makes_one(self):
        """By the client's key, and by the reference that is derived from it."""
        self.deposit(1000)
        for known in ("key", "reference"):
            for _ in range(5):
                key = uuid.uuid4()
                reference = reference_of(
                    Transaction(idempotency_key=key), self.alice.uuid, 1
                )
                enter = partial(
                    record.record_payment,
                    self.alice.uuid,
                    1,
                    evidence=STATEMENT,
                    actor=OSCAR,
                    **({"key": key} if known == "key" else {"reference": reference}),
                )
                ask = partial(
                    builders.schedule_receipt,
                    self.alice.uuid,
                    1,
                    self.after(3600),
                    key,
                )
                entered, asked = race(enter, ask)
                with self.subTest(known=known):
                    self.judge(key, reference, entered, asked)

    def judge(self, key: uuid.UUID, reference: uuid.UUID, entered, asked) -> None:
        """Check that at most one payment is possible, whoever was first."""
        rows = Transaction.objects.filter(idempotency_key=key)
        if isinstance(entered, (IdempotencyKeyReused, InvalidInput)):
            self.assertEqual(rows.get().status, "PENDING")  # needs its id
            return
        self.assertEqual(entered.status, "COMPLETED")
        self.assertEqual(Attempt.objects.get(reference=reference).sends, 0)
        if asked.transaction.pk == entered.pk:
            self.assertTrue(asked.replayed)

    def test_that_both_win_pays_nothing(self):
        """The client's request commits after the operator's call has checked."""
        self.deposit(1000)
        key = uuid.uuid4()
        request = Transaction(idempotency_key=key)
        reference = reference_of(request, self.alice.uuid, 1)
        record.record_payment(
            self.alice.uuid, 1, reference=reference, evidence=STATEMENT, actor=OSCAR
        )
        with mock.patch.object(reference_service, "find_recorded", return_value={}):
            asked = WithdrawalService.schedule(
                self.alice.uuid, 1, self.after(60), key, now=self.now
            )
        other = self.due_withdrawal(5)
        sweep = drain.Drain(
            claiming.find_due, bank=self.bank, seconds=1, now=lambda: self.after(90)
        )
        sweep.run()
        # The unique reference refuses only this attempt; an operator cancels it.
        self.assertEqual([each.amount for each in self.bank.requests], [5])
        other.refresh_from_db()
        self.assertEqual(other.status, "COMPLETED")
        self.assertEqual(WithdrawalService.cancel(asked.pk).status, "CANCELLED")
        self.assert_money(self.alice, balance=994)
