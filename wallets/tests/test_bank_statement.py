"""The books against the bank's own list of payments."""

import uuid
from io import StringIO

from django.core.management import CommandError, call_command
from django.test import override_settings

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services import bank_statement, drain, resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import ABLE, DEDUPES_ONLY, Does, FakeBank
from wallets.utils.bank_statement import StatementLine


class BankStatementTest(WalletTestCase):
    def setUp(self):
        super().setUp()
        self.deposit(1000)

    def pay(self, *does):
        self.bank.script.extend(does)
        return WithdrawalService.execute(
            self.due_withdrawal(100).pk, bank=self.bank, now=self.now
        )

    def compare(self, *more):
        lines = [
            StatementLine(p.reference, p.wallet_uuid, p.amount) for p in self.bank.paid
        ]
        return [finding.check for finding in bank_statement.compare([*lines, *more])]

    def alarms(self):
        return list(Alarm.objects.values_list("kind", flat=True))

    def test_finds_nothing_where_both_agree(self):
        self.pay()
        self.pay(Does.REFUSE)
        self.assertEqual(self.compare(), [])
        self.assertEqual(self.alarms(), [])

    def test_finds_what_is_paid_and_not_recorded_yet(self):
        self.pay(Does.PAY_SILENTLY)
        self.assertEqual(self.compare(), ["paid_not_recorded"])
        self.assertEqual(self.alarms(), [])

    def test_raises_an_alarm_for_what_is_paid_and_released(self):
        failed = self.pay(Does.REFUSE)
        reference = failed.attempts.get().reference
        line = StatementLine(reference, self.alice.uuid, 100)
        for _ in range(2):
            self.assertEqual(self.compare(line), ["paid_after_release"])
        self.assertEqual(self.alarms(), ["paid_after_release"])
        self.assert_money(self.alice, balance=1000)

    def test_raises_an_alarm_for_what_the_bank_paid_twice(self):
        self.pay()
        self.bank.paid *= 2
        self.assertEqual(self.compare(), ["paid_twice"])
        self.assertEqual(self.alarms(), ["paid_twice"])

    def test_finds_a_payment_of_another_amount(self):
        reference = self.pay().attempts.get().reference
        self.bank.paid.clear()
        line = StatementLine(reference, self.alice.uuid, 101)
        self.assertEqual(self.compare(line), ["paid_otherwise"])

    def test_finds_payments_that_no_attempt_of_ours_asked_for(self):
        for reference in (uuid.uuid4(), None):
            line = StatementLine(reference, self.alice.uuid, 5)
            self.assertEqual(self.compare(line), ["unknown_payment"])

    def test_finds_what_we_have_as_paid_and_the_bank_has_not(self):
        self.pay()
        self.bank.paid.clear()
        self.assertEqual(self.compare(), ["not_on_statement"])

    @override_settings(THIRD_PARTY_BASE_URL="http://127.0.0.1:9")
    def test_says_in_one_line_that_the_bank_is_not_there(self):
        with self.assertRaises(CommandError) as got:
            call_command("reconcile_bank", stdout=StringIO())
        self.assertIn("no answer", str(got.exception))


@override_settings(WITHDRAWALS_PAUSED=True)
class PausedTest(WalletTestCase):
    """While payouts are paused, after restoring a backup for instance."""

    def test_executes_nothing(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(100)
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        sweep = drain.Drain(drain.find_due, bank=self.bank, seconds=5)
        self.assertEqual(sweep.run(), 0)
        self.assertEqual(self.bank.requests, [])

    def test_goes_on_looking_up_but_sends_nothing_again(self):
        self.deposit(1000)
        for abilities, ends_as in ((ABLE, "COMPLETED"), (DEDUPES_ONLY, "PROCESSING")):
            with self.subTest(abilities=abilities):
                bank = FakeBank(abilities, (Does.PAY_SILENTLY,))
                withdrawal = self.due_withdrawal(100)
                with override_settings(WITHDRAWALS_PAUSED=False):
                    WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.now)
                resolver.resolve_due(bank=bank, limit=10, now=self.after(3600))
                withdrawal.refresh_from_db()
                self.assertEqual(withdrawal.status, ends_as)
                self.assertEqual(len(bank.requests), 1)
                Attempt.objects.filter(open=True).update(next_check_at=None)
