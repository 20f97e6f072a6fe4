"""An operator makes the retry of a failed withdrawal due now."""

from wallets.errors import IllegalTransition, InvalidInput
from wallets.models.transaction import Transaction
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.tests.fakes import Does


class RetryNowTest(WalletTestCase):
    def setUp(self):
        super().setUp()
        self.deposit(1000)
        self.withdrawal = self.due_withdrawal(400)

    def execute(self, *does):
        self.bank.script.extend(does)
        return WithdrawalService.execute(self.withdrawal.pk, bank=self.bank)

    def test_makes_the_next_attempt_due_at_once(self):
        failed = self.execute(Does.REFUSE)
        with self.assertRaises(Transaction.DoesNotExist):
            self.execute()

        WithdrawalService.retry_now(failed.pk, actor=OSCAR)
        done = self.execute()

        self.assertEqual(done.status, Transaction.Status.COMPLETED)
        self.assertEqual(done.retry_count, 1)
        self.assert_money(self.alice, balance=600)

    def test_records_who_asked(self):
        self.execute(Does.REFUSE)
        WithdrawalService.retry_now(self.withdrawal.pk, actor=OSCAR)

        row = self.withdrawal.transitions.get(event="retry_now")
        self.assertEqual(row.actor, OSCAR)
        self.assertEqual(row.from_state, row.to_state)

    def test_refuses_what_did_not_fail_or_failed_for_good(self):
        pending = self.due_withdrawal(5000)
        with self.assertRaises(IllegalTransition):
            WithdrawalService.retry_now(pending.pk, actor=OSCAR)
        WithdrawalService.execute(pending.pk, bank=self.bank)  # not enough balance
        with self.assertRaises(IllegalTransition):
            WithdrawalService.retry_now(pending.pk, actor=OSCAR)
        self.execute(Does.LOSE)  # unknown
        with self.assertRaises(IllegalTransition):
            WithdrawalService.retry_now(self.withdrawal.pk, actor=OSCAR)

    def test_refuses_an_empty_actor_and_a_deposit(self):
        self.execute(Does.REFUSE)
        with self.assertRaises(InvalidInput):
            WithdrawalService.retry_now(self.withdrawal.pk, actor=" ")
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.retry_now(self.deposit(5).pk, actor=OSCAR)

    def test_counts_as_one_of_the_retries(self):
        for _ in range(3):
            self.execute(Does.REFUSE)
            WithdrawalService.retry_now(self.withdrawal.pk, actor=OSCAR)
        last = self.execute(Does.REFUSE)

        self.assertTrue(last.final)
        with self.assertRaises(IllegalTransition):
            WithdrawalService.retry_now(self.withdrawal.pk, actor=OSCAR)


class StatementTimeTest(WalletTestCase):
    def test_never_goes_back(self):
        """A movement with an earlier time gets the time of the last movement."""
        self.deposit(1000)
        (deposit,) = self.alice.movements.all()
        self.assertLess(self.now, deposit.created_at)

        withdrawal = self.due_withdrawal(400)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)

        hold = self.alice.movements.get(kind="hold")
        self.assertEqual(hold.created_at, deposit.created_at)
