"""A damaged row among due withdrawals: the others are paid, and an alarm is raised."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock, skipUnless

from django.db import connection
from django.test import override_settings

from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.payouts import attempt, moment, payout, put_aside, sweeps
from wallets.tests.base import WalletTestCase
from wallets.tests.clocks import StandingClock
from wallets.tests.fakes import LOOKS_UP_ONLY, Does
from wallets.tests.raw import execute, insert, rules_off, update
from wallets.tests.test_drain import SameThreadBank


class DamagedDueTest(WalletTestCase):
    """Bob's withdrawal, the first that is due, is damaged; Alice's are not."""

    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()
        self.bank = SameThreadBank(LOOKS_UP_ONLY)
        self.deposit(1000)
        self.deposit(1000, self.bob)
        self.damaged = self.due_withdrawal(10, self.bob)
        self.sound = [self.due_withdrawal(10) for _ in range(3)]
        put_aside._until.clear()
        self.addCleanup(put_aside._until.clear)

    def refuse_all(self) -> None:
        """Let each attempt fail, so that a retry becomes due."""
        self.bank.script.extend([Does.REFUSE] * 4)
        sweeps.pay_pending(bank=self.bank)
        self.assertEqual(self.statuses(), ["FAILED"] * 4)
        Transaction.objects.filter(status="FAILED").update(next_attempt_at=self.now)

    def statuses(self) -> list[str]:
        rows = Transaction.objects.filter(transaction_type="WITHDRAWAL")
        return list(rows.order_by("pk").values_list("status", flat=True))

    def check(self, sweep=sweeps.pay_pending, left: str = "PENDING") -> None:
        sweep(bank=self.bank)
        self.assertEqual(self.statuses(), [left] + ["COMPLETED"] * 3)
        alarm = Alarm.objects.get(kind=Alarm.Kind.DAMAGED_ROWS)
        self.assertEqual(alarm.transaction_id, self.damaged.pk)

    def test_wallet_does_not_stop_other_payments(self) -> None:
        Wallet.objects.filter(pk=self.bob.pk).update(movement_count=0)
        self.check()

    def test_transaction_does_not_stop_other_payments(self) -> None:
        """The row has the state of two changes ago."""
        self.refuse_all()
        update(Transaction, self.damaged.pk, {"version": 1})
        self.check(sweeps.pay_retries, left="FAILED")

    def test_attempt_does_not_stop_other_payments(self) -> None:
        """One that the withdrawal does not know of has its number."""
        at = moment.read(self.now - timedelta(hours=1))
        begun = attempt.begun(self.damaged, self.bob, attempt.Claimed(""), 1, at)
        begun.save(force_insert=True)
        self.check()

    def test_transition_does_not_stop_other_payments(self) -> None:
        """One that the withdrawal does not know of has its number."""
        known = Transition.objects.get(transaction=self.damaged)
        columns = {f.name: getattr(known, f.attname) for f in fields(Transition)}
        insert(Transition, columns | {"sequence": known.sequence + 1})
        self.check()

    @skipUnless(connection.vendor == "sqlite", "other engines refuse another type")
    def test_amount_of_another_type_keeps_nobody_else_from_being_paid(self) -> None:
        with rules_off(Transaction):
            table, pk = "wallets_transaction", self.damaged.pk
            execute(f"UPDATE {table} SET amount = 'abc' WHERE id = {pk}")
        self.check()

    @skipUnless(connection.vendor == "sqlite", "other engines refuse another type")
    def test_balance_of_another_type_keeps_nobody_else_from_being_paid(self) -> None:
        with rules_off(Wallet):
            table, pk = "wallets_wallet", self.bob.pk
            execute(f"UPDATE {table} SET balance = 'abc' WHERE id = {pk}")
        self.check()

    def test_wallet_does_not_stop_other_retries(self) -> None:
        self.refuse_all()
        Wallet.objects.filter(pk=self.bob.pk).update(movement_count=0)
        self.check(sweeps.pay_retries, left="FAILED")

    @override_settings(WITHDRAWAL_BATCH_SIZE=1)
    def test_wallet_does_not_stop_the_retries_of_later_batches(self) -> None:
        self.refuse_all()
        Wallet.objects.filter(pk=self.bob.pk).update(movement_count=0)
        self.check(sweeps.pay_retries, left="FAILED")

    def test_row_is_left_alone_for_a_while_and_then_tried_again(self) -> None:
        Wallet.objects.filter(pk=self.bob.pk).update(movement_count=0)
        with StandingClock() as time_stands:
            sweeps.pay_pending(bank=self.bank, seconds=1)
            with mock.patch.object(payout, "claim", wraps=payout.claim) as claim:
                for _ in range(5):
                    sweeps.pay_pending(bank=self.bank, seconds=1)
                self.assertEqual(claim.call_count, 5)  # each claims nothing
            time_stands.go_on(put_aside.REST_SECONDS)
            Wallet.objects.filter(pk=self.bob.pk).update(movement_count=1)
            sweeps.pay_pending(bank=self.bank, seconds=1)
        self.assertEqual(self.statuses(), ["COMPLETED"] * 4)

    def test_row_raises_one_alarm_however_often_it_is_tried(self) -> None:
        Wallet.objects.filter(pk=self.bob.pk).update(movement_count=0)
        with override_settings(WITHDRAWAL_BATCH_SIZE=2):
            for _ in range(3):
                put_aside._until.clear()
                self.check()


def fields(model):
    """Return the fields of a row that is written by SQL."""
    return [f for f in model._meta.concrete_fields if not f.primary_key]
