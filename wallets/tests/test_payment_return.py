"""Returns: what the bank sends back goes to the wallet, once, and nothing is edited."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest import skipIf, skipUnless

from django.db import connection

from wallets.errors import (
    AlreadyReturned,
    BalanceLimit,
    InvalidAmount,
    InvalidInput,
    NotReturnable,
    ReturnTooLarge,
    WalletClosed,
)
from wallets.models.base import MAX_MONEY
from wallets.models.ledger import Movement
from wallets.models.payment_return import PaymentReturn
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.corrections.correction import correct, look
from wallets.services.ledger import ledger_audit
from wallets.services.operations import record
from wallets.services.operations.payment_return import record_return
from wallets.services.transfers.transfer import transfer
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.api import nothing_written
from wallets.tests.base import OSCAR, CommittingTestCase, WalletTestCase
from wallets.tests.fakes import Does
from wallets.tests.marks import slow
from wallets.tests.races import race
from wallets.tests.raw import a_hold, execute, insert, rules_off, update
from wallets.tests.test_commands_review import HUGE, CommandTestCase

REFERENCE, WHY = "RET-2026-117", "the account is closed"


def give_back(pk: int, amount: int, **options: Any) -> PaymentReturn:
    told = {"return_reference": REFERENCE, "reason": WHY, "actor": OSCAR}
    return record_return(pk, amount, **told | options)


class PaidCase(WalletTestCase):
    """Alice had 100 and the bank has paid 60 of it."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)
        self.paid = self.pay(60)

    def pay(self, amount: int, *does: Does) -> Transaction:
        self.bank.script.extend(does)
        withdrawal = self.due_withdrawal(amount)
        return WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)


class RecordReturnTest(PaidCase):
    def test_gives_the_money_back_to_the_wallet(self) -> None:
        done = give_back(self.paid.pk, 60, now=self.after(9 * 86400))
        self.assert_money(self.alice, balance=100)
        self.assertEqual((done.paid, done.amount, done.attempt_number), (60, 60, 1))
        told = done.return_reference, done.reason, done.actor
        self.assertEqual(told, (REFERENCE, WHY, OSCAR))
        entry = Transaction.objects.get(pk=done.credit_id)
        self.assertEqual(
            (entry.transaction_type, entry.status), ("RETURN", "COMPLETED")
        )
        self.assertEqual((entry.scheduled_for, entry.actor), (None, OSCAR))
        self.assertEqual(entry.executed_at, self.after(9 * 86400))
        movement = entry.movements.get()
        self.assertEqual((movement.kind, movement.change), ("return", 60))
        self.assertEqual((movement.sequence, movement.balance_after), (4, 100))

    def test_edits_nothing(self) -> None:
        def seen() -> list[Any]:
            mine = Transaction.objects.filter(pk=self.paid.pk)
            rows = (mine, self.paid.attempts, self.paid.transitions)
            return [list(some.values()) for some in rows]

        before = seen()
        give_back(self.paid.pk, 60)
        self.assertEqual(seen(), before)

    def test_takes_less_if_the_bank_has_kept_a_fee(self) -> None:
        done = give_back(self.paid.pk, 55)
        self.assert_money(self.alice, balance=95)
        self.assertEqual((done.paid, done.amount), (60, 55))
        with self.assertRaises(AlreadyReturned):
            give_back(self.paid.pk, 5, return_reference="the rest")

    def test_refuses_more_than_was_paid(self) -> None:
        with nothing_written(), self.assertRaisesMessage(ReturnTooLarge, "paid 60"):
            give_back(self.paid.pk, 61)

    def test_is_made_once_however_often_it_is_told(self) -> None:
        first = give_back(self.paid.pk, 60)
        with nothing_written():
            self.assertEqual(give_back(self.paid.pk, 60, reason="told again"), first)
            for amount, reference in ((60, "another"), (59, REFERENCE)):
                with (
                    self.subTest(amount, reference=reference),
                    self.assertRaisesMessage(AlreadyReturned, REFERENCE),
                ):
                    give_back(self.paid.pk, amount, return_reference=reference)
        self.assert_money(self.alice, balance=100)

    def test_is_of_the_attempt_that_was_paid(self) -> None:
        failed = self.pay(10, Does.REFUSE)
        later = self.after(3600)
        WithdrawalService.execute(failed.pk, bank=self.bank, now=later)
        self.assertEqual(give_back(failed.pk, 10).attempt_number, 2)

    def test_takes_a_payment_that_an_operator_has_recorded(self) -> None:
        lost = self.due_withdrawal(40)
        record.record_paid(lost.pk, evidence="statement 7", actor=OSCAR)
        give_back(lost.pk, 40)
        self.assert_money(self.alice, balance=40)

    def test_refuses_what_the_bank_has_not_paid(self) -> None:
        done = give_back(self.paid.pk, 60)
        sent = transfer(self.alice.uuid, self.bob.uuid, 1)
        for row, reason in (
            (self.deposit(1).pk, "is a DEPOSIT"),
            (sent.debit_id, "is a TRANSFER_OUT"),
            (done.credit_id, "is a RETURN"),
            (self.due_withdrawal(1).pk, "is PENDING"),
            (self.pay(1, Does.REFUSE).pk, "is FAILED"),
            (self.pay(1, Does.LOSE).pk, "is PROCESSING"),
        ):
            with (
                self.subTest(reason),
                nothing_written(),
                self.assertRaisesMessage(NotReturnable, reason),
            ):
                give_back(row, 1)
        with self.assertRaises(Transaction.DoesNotExist):
            give_back(10**9, 1)

    def test_refuses_a_damaged_withdrawal(self) -> None:
        row = self.due_withdrawal(1)
        update(Transaction, row.pk, {"status": "COMPLETED", "executed_at": self.now})
        self.books_must_be_right = False
        with nothing_written(), self.assertRaisesMessage(
            NotReturnable, "verify_ledger"
        ):
            give_back(row.pk, 1)

    def test_reaches_a_frozen_wallet_and_not_a_closed_one(self) -> None:
        update(Wallet, self.alice.pk, {"frozen_in": True, "frozen_out": True})
        give_back(self.paid.pk, 60)
        self.assert_money(self.alice, balance=100)
        self.deposit(5, self.bob)
        last = WithdrawalService.execute(
            self.due_withdrawal(5, self.bob).pk, bank=self.bank, now=self.now
        )
        update(Wallet, self.bob.pk, {"closed": True})
        with nothing_written(), self.assertRaisesMessage(
            WalletClosed, "another wallet"
        ):
            give_back(last.pk, 5)

    def test_is_refused_if_the_wallet_has_no_room(self) -> None:
        self.deposit(MAX_MONEY - 40)
        with nothing_written(), self.assertRaises(BalanceLimit):
            give_back(self.paid.pk, 1)

    def test_refuses_what_is_never_right(self) -> None:
        for amount, options, refusal in (
            (0, {}, InvalidAmount),
            (-1, {}, InvalidAmount),
            (1.0, {}, InvalidAmount),
            (MAX_MONEY + 1, {}, InvalidAmount),
            (1, {"return_reference": ""}, InvalidInput),
            (1, {"return_reference": " x"}, InvalidInput),
            (1, {"return_reference": "x" * 256}, InvalidInput),
            (1, {"reason": " "}, InvalidInput),
            (1, {"reason": "\0"}, InvalidInput),
            (1, {"actor": ""}, InvalidInput),
        ):
            with (
                self.subTest(amount, **options),
                nothing_written(),
                self.assertRaises(refusal),
            ):
                give_back(self.paid.pk, amount, **options)

    def test_is_corrected_like_a_deposit_if_it_was_wrong(self) -> None:
        done = give_back(self.paid.pk, 60)
        self.assertEqual(look(done.credit_id).left, 60)
        made = correct(done.credit_id, 60, reason="another payment", actor=OSCAR)
        self.assertEqual(
            (made.corrects_id, made.corrects_leg), (done.credit_id, "bank")
        )
        self.assert_money(self.alice, balance=40)
        with self.assertRaises(AlreadyReturned):
            give_back(self.paid.pk, 60, return_reference="the right one")


class RecordReturnCommandTest(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        row = self.due_withdrawal(60)
        self.paid = WithdrawalService.execute(row.pk, bank=self.bank, now=self.now)

    def words(
        self, pk: Any, amount: Any, reference: str = REFERENCE
    ) -> tuple[Any, ...]:
        told = ("--reference", reference, "--reason", WHY, "--by", OSCAR)
        return ("record_return", pk, "--amount", amount, *told)

    def test_records_it_once(self) -> None:
        for _ in range(2):
            said = self.run_command(*self.words(self.paid.pk, 55))
            self.assertIn(f"withdrawal {self.paid.pk}: 55 of 60 returned", said)
        self.assert_money(self.alice, balance=995)
        self.assertEqual(PaymentReturn.objects.get().actor, OSCAR)

    def test_refuses_in_one_line(self) -> None:
        waiting = self.due_withdrawal(1)
        with nothing_written():
            for words, reason in (
                (self.words(self.paid.pk, 61), "Not recorded: The bank paid 60"),
                (self.words(self.paid.pk, 0), "must be positive"),
                (self.words(self.paid.pk, "1.5"), "no amount"),
                (self.words(self.paid.pk, 60, ""), "1 to 255 printable"),
                (self.words(waiting.pk, 1), "is PENDING"),
                (self.words(7777, 1), "No withdrawal 7777"),
                (self.words(HUGE, 1), "no id"),
                (("record_return", self.paid.pk), "required"),
            ):
                with self.subTest(reason):
                    self.assert_refused(reason, *words)


@skipIf(connection.vendor == "sqlite", "one writer at a time")
@slow
class RaceTest(CommittingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(60)
        row = self.due_withdrawal(60)
        self.paid = WithdrawalService.execute(row.pk, bank=self.bank, now=self.now)

    def test_of_ten_that_tell_the_same_makes_one(self) -> None:
        results = race(*[partial(give_back, self.paid.pk, 60)] * 10)
        self.assertEqual(len({one.pk for one in results}), 1, results)
        self.assert_money(self.alice, balance=60)

    def test_of_ten_that_tell_otherwise_makes_one(self) -> None:
        results = race(
            *[
                partial(
                    give_back, self.paid.pk, 60, return_reference=f"return {number}"
                )
                for number in range(10)
            ]
        )
        done = [one for one in results if isinstance(one, PaymentReturn)]
        refused = [one for one in results if isinstance(one, AlreadyReturned)]
        self.assertEqual((len(done), len(refused)), (1, 9), results)
        self.assert_money(self.alice, balance=60)


class VerifyTest(PaidCase):
    """Each kind of damage is found, and its row is named."""

    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()
        self.done = give_back(self.paid.pk, 60)

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def found(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for finding in ledger_audit.verify():
            found.setdefault(finding.check, []).append(finding.row)
        return found

    def damaged(self, **changes: Any) -> dict[str, list[str]]:
        """Insert a second row with these changes; return what is found."""
        columns = PaymentReturn.objects.filter(pk=self.done.pk).values().get()
        del columns["id"]
        columns = {name.removesuffix("_id"): one for name, one in columns.items()}
        with rules_off(PaymentReturn):
            insert(PaymentReturn, columns | changes)
            return self.found()

    def test_finds_nothing_in_right_books(self) -> None:
        self.assertEqual(self.found(), {})

    def test_finds_the_return_of_what_was_not_paid(self) -> None:
        failed = self.pay(5, Does.REFUSE)
        for changes in (
            {"withdrawal": failed.pk, "credit": 10**6},
            {"withdrawal": self.pay(5).pk, "credit": 10**6 + 1},  # 5, not 60
        ):
            name = f"return of withdrawal {changes['withdrawal']}"
            with self.subTest(**changes):
                self.assertIn(name, self.damaged(**changes)["return_of_paid"])

    def test_finds_a_return_without_its_money(self) -> None:
        row = self.pay(5)
        changes = {"withdrawal": row.pk, "paid": 5, "amount": 5}
        found = self.damaged(**changes, credit=self.deposit(5).pk)
        name = f"return of withdrawal {row.pk}"
        self.assertEqual(found, {"return_movement": [name]})

    def test_finds_that_more_was_returned_than_paid(self) -> None:
        row = self.pay(5)
        found = self.damaged(withdrawal=row.pk, paid=5, amount=6, credit=10**6)
        name = f"return of withdrawal {row.pk}"
        self.assertEqual(found["return_too_large"], [name])

    @skipUnless(connection.vendor == "postgresql", "it can drop a rule and roll back")
    def test_finds_that_a_payment_was_returned_twice(self) -> None:
        """After a restore that has left out the unique constraint."""
        table = PaymentReturn._meta.db_table
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        execute(f"ALTER TABLE {table} DROP CONSTRAINT return_once_per_withdrawal")
        found = self.damaged(credit=10**6)
        self.assertEqual(found["returned_twice"], [f"withdrawal {self.paid.pk}"])

    def test_finds_money_of_no_return(self) -> None:
        entry = Transaction.objects.create(
            wallet=self.bob,
            transaction_type="RETURN",
            amount=5,
            status="COMPLETED",
            executed_at=self.now,
        )
        movement = a_hold(self.bob.pk, entry.pk, self.now) | {
            "kind": "return",
            "leg": "bank",
            "from_account": "outside",
            "to_account": "wallet",
            "attempt_number": 0,
            "sequence": 1,
            "balance_after": 5,
        }
        insert(Movement, movement)
        columns = {"balance": 5, "movement_count": 1, "updated_at": self.now}
        update(Wallet, self.bob.pk, columns)
        name = f"transaction {entry.pk}"
        self.assertEqual(self.found(), {"transaction_return": [name]})
