"""Corrections: money that was moved wrongly goes back, once, and nothing is edited."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable
from functools import partial
from typing import Any
from unittest import mock, skipIf

from django.core.management import CommandError, call_command
from django.db import connection

from wallets.errors import (
    BalanceLimit,
    CorrectionTooLarge,
    DamagedRows,
    IdempotencyKeyReused,
    InsufficientBalance,
    InvalidAmount,
    InvalidInput,
    LostRace,
    NotCorrectable,
    WalletClosed,
)
from wallets.models.base import MAX_MONEY
from wallets.models.correction import Correction
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.wallet import Wallet
from wallets.services.corrections import correction
from wallets.services.corrections.correction import correct, look
from wallets.services.corrections.of_wallet import correct_of
from wallets.services.ledger import ledger_audit
from wallets.services.transfers.transfer import transfer
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.api import Api, nothing_written
from wallets.tests.base import OSCAR, CommittingTestCase, WalletTestCase
from wallets.tests.marks import slow
from wallets.tests.races import FEW, race, rounds
from wallets.tests.raw import a_hold, execute, insert, rules_off, update
from wallets.utils.caller import ANYBODY

WHY = "ten thousand was typed for one thousand"


def take_back(pk: int, amount: int, **options: Any) -> Correction:
    return correct(pk, amount, **{"reason": WHY, "actor": OSCAR} | options)


class DepositCorrectionTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.made = self.deposit(10_000)

    def test_takes_the_money_out_of_the_wallet(self) -> None:
        done = take_back(self.made.pk, 9_000, now=self.now)
        self.assert_money(self.alice, balance=1_000)
        self.assertEqual(
            (done.corrects, done.number, done.left_before, done.left_after),
            (self.made, 1, 10_000, 1_000),
        )
        self.assertEqual((done.reason, done.actor, done.credit), (WHY, OSCAR, None))
        self.assertEqual(done.created_at, self.now)

    def test_is_a_new_entry_and_edits_nothing(self) -> None:
        before = Transaction.objects.filter(pk=self.made.pk).values().get()
        done = take_back(self.made.pk, 9_000)
        after = Transaction.objects.filter(pk=self.made.pk).values().get()
        self.assertEqual(before, after)
        entry = Transaction.objects.get(pk=done.debit_id)
        self.assertEqual(entry.transaction_type, "CORRECTION_OUT")
        self.assertEqual((entry.status, entry.amount), ("COMPLETED", 9_000))
        movement = entry.movements.get()
        self.assertEqual((movement.kind, movement.change), ("correction_out", -9_000))
        self.assertEqual(movement.balance_after, 1_000)

    def test_goes_on_until_nothing_is_left(self) -> None:
        for amount, left in ((1, 9_999), (9_000, 999), (999, 0)):
            self.assertEqual(take_back(self.made.pk, amount).left_after, left)
        with self.assertRaises(CorrectionTooLarge):
            take_back(self.made.pk, 1)
        self.assertEqual(look(self.made.pk).left, 0)
        self.assert_money(self.alice, balance=0)

    def test_refuses_more_than_was_deposited(self) -> None:
        self.deposit(10_000)
        with nothing_written(), self.assertRaisesMessage(CorrectionTooLarge, "10000"):
            take_back(self.made.pk, 10_001)

    def test_never_goes_below_zero(self) -> None:
        transfer(self.alice.uuid, self.bob.uuid, 9_500)
        with nothing_written(), self.assertRaises(InsufficientBalance):
            take_back(self.made.pk, 501)
        take_back(self.made.pk, 500)
        self.assert_money(self.alice, balance=0)

    def test_takes_nothing_that_is_held(self) -> None:
        update(Wallet, self.alice.pk, {"balance": 100, "held": 9_900})
        self.books_must_be_right = False
        with self.assertRaises(InsufficientBalance):
            take_back(self.made.pk, 101)

    def test_refuses_what_is_never_right(self) -> None:
        for amount, options, refusal in (
            (0, {}, InvalidAmount),
            (-1, {}, InvalidAmount),
            (1.0, {}, InvalidAmount),
            (MAX_MONEY + 1, {}, InvalidAmount),
            (1, {"reason": " "}, InvalidInput),
            (1, {"reason": "x" * 501}, InvalidInput),
            (1, {"reason": "\0"}, InvalidInput),
            (1, {"actor": ""}, InvalidInput),
            (1, {"actor": "x" * 151}, InvalidInput),
            (1, {"idempotency_key": "x"}, InvalidInput),
        ):
            with (
                self.subTest(amount, **options),
                nothing_written(),
                self.assertRaises(refusal),
            ):
                take_back(self.made.pk, amount, **options)
        with self.assertRaises(Transaction.DoesNotExist):
            take_back(10**9, 1)

    def test_is_posted_once_for_one_key(self) -> None:
        key = uuid.uuid4()
        first = take_back(self.made.pk, 10, idempotency_key=key)
        with nothing_written():
            self.assertEqual(take_back(self.made.pk, 10, idempotency_key=key), first)
            for pk, amount, used in (
                (self.made.pk, 11, key),
                (self.made.pk, 10_000, self.made.idempotency_key),
            ):
                with self.assertRaises(IdempotencyKeyReused):
                    take_back(pk, amount, idempotency_key=used)
        other = self.deposit(10)
        with self.assertRaises(IdempotencyKeyReused):
            take_back(other.pk, 10, idempotency_key=key)

    def test_is_refused_if_another_one_has_its_number(self) -> None:
        take_back(self.made.pk, 10, number=1)
        with self.assertRaises(LostRace):
            take_back(self.made.pk, 10, number=1)
        take_back(self.made.pk, 10, number=2)

    def test_is_possible_in_a_frozen_wallet_and_not_in_a_closed_one(self) -> None:
        update(Wallet, self.alice.pk, {"frozen_in": True, "frozen_out": True})
        take_back(self.made.pk, 10_000)
        update(Wallet, self.alice.pk, {"closed": True})
        self.assertEqual(look(self.made.pk).left, 0)
        other = self.deposit(1, self.bob)
        update(Wallet, self.bob.pk, {"balance": 0})
        update(Wallet, self.bob.pk, {"closed": True})
        self.books_must_be_right = False
        with self.assertRaises(WalletClosed):
            take_back(other.pk, 1)

    def test_is_not_possible_for_what_a_bank_paid_or_for_a_correction(self) -> None:
        withdrawal = self.due_withdrawal(100)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        correction = take_back(self.made.pk, 10)
        for pk in (withdrawal.pk, correction.debit_id):
            with self.subTest(pk), self.assertRaises(NotCorrectable):
                take_back(pk, 1)


class TransferCorrectionTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)
        transfer(self.alice.uuid, self.bob.uuid, 60)
        self.made = Transfer.objects.get()

    def test_gives_the_money_back_whichever_half_is_named(self) -> None:
        first = take_back(self.made.debit_id, 20)
        second = take_back(self.made.credit_id, 40)
        self.assert_money(self.alice, balance=100)
        self.assert_money(self.bob, balance=0)
        for done, number in ((first, 1), (second, 2)):
            self.assertEqual(done.corrects_id, self.made.credit_id)
            self.assertEqual(done.credit_corrects_id, self.made.debit_id)
            self.assertEqual(
                (done.wallet_id, done.payer_id), (self.bob.pk, self.alice.pk)
            )
            self.assertEqual(done.number, number)
        with self.assertRaises(CorrectionTooLarge):
            take_back(self.made.debit_id, 1)

    def test_is_refused_if_the_payee_has_not_the_money_any_more(self) -> None:
        transfer(self.bob.uuid, self.alice.uuid, 41)
        with nothing_written(), self.assertRaises(InsufficientBalance):
            take_back(self.made.debit_id, 20)

    def test_is_refused_if_the_payer_has_no_room(self) -> None:
        self.deposit(MAX_MONEY - 40)
        with nothing_written(), self.assertRaises(BalanceLimit):
            take_back(self.made.debit_id, 1)

    def test_is_refused_if_the_payer_is_closed(self) -> None:
        transfer(self.alice.uuid, self.bob.uuid, 40)
        update(Wallet, self.alice.pk, {"closed": True})
        with nothing_written(), self.assertRaises(WalletClosed):
            take_back(self.made.debit_id, 1)

    def test_says_that_a_half_alone_is_damaged(self) -> None:
        half = Transaction.objects.create(
            wallet=self.alice,
            transaction_type="TRANSFER_OUT",
            amount=5,
            status="COMPLETED",
            executed_at=self.now,
        )
        self.books_must_be_right = False
        with self.assertRaises(DamagedRows):
            take_back(half.pk, 1)


class ShownTest(Api, WalletTestCase):
    def test_in_lists_and_statements_with_what_it_corrects(self) -> None:
        made = self.deposit(100)
        take_back(made.pk, 30)
        transfer(self.alice.uuid, self.bob.uuid, 60)
        moved = Transfer.objects.get()
        done = take_back(moved.debit_id, 20)
        for wallet, pk, corrects, kind, change in (
            (self.alice, done.credit_id, moved.debit_id, "correction_in", 20),
            (self.bob, done.debit_id, moved.credit_id, "correction_out", -20),
        ):
            with self.subTest(kind):
                newest, *_ = self.get(self.path("transactions/", wallet=wallet)).json()
                self.assertEqual((newest["id"], newest["corrects"]), (pk, corrects))
                self.assertEqual(newest["transaction_type"], kind.upper())
                path = self.path("transactions", pk, "", wallet=wallet)
                self.assertEqual(self.get(path).json(), newest)
                *_, line = self.get(self.path("statement/", wallet=wallet)).json()[
                    "movements"
                ]
                self.assertEqual((line["kind"], line["change"]), (kind, change))
                self.assertEqual(line["corrects"], corrects)
                answer = self.get(
                    self.path("statement/", wallet=wallet), Accept="text/csv"
                )
                self.assertIn(f",,{corrects},\r\n", answer.getvalue().decode())
        cancel = self.post(self.path("transactions", done.credit_id, "cancel"))
        self.assert_problem(cancel, 409, "not_cancelable")


class CorrectCommandTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.made = self.deposit(100)

    def run_command(self, *words: Any) -> str:
        out = io.StringIO()
        call_command("correct", *map(str, words), stdout=out, stderr=out)
        return out.getvalue()

    def post(self, pk: int, amount: Any, *more: Any) -> str:
        words = ("--amount", amount, "--reason", WHY, "--by", OSCAR, *more)
        return self.run_command("post", pk, *words)

    def test_shows_what_can_be_corrected_and_changes_nothing(self) -> None:
        take_back(self.made.pk, 30, reason="a b")
        with nothing_written():
            text = self.run_command("show", self.made.pk)
        for part in (self.alice.uuid, "amount 100", "corrected 30", OSCAR, "a b"):
            self.assertIn(str(part), text)
        self.assertIn("70 left to correct", text)

    def test_shows_both_wallets_of_a_transfer(self) -> None:
        made = transfer(self.alice.uuid, self.bob.uuid, 60)
        for pk in (made.debit_id, made.credit_id):
            text = self.run_command("show", pk)
            self.assertIn(f"takes from wallet {self.bob.uuid}", text)
            self.assertIn(f"gives back to wallet {self.alice.uuid}", text)

    def test_posts_it_once_for_one_key(self) -> None:
        key = uuid.uuid4()
        for _ in range(2):
            text = self.post(self.made.pk, 30, "--key", key)
            self.assertIn("30 taken back", text)
        self.assert_money(self.alice, balance=70)

    def test_ends_with_one_line_when_it_is_refused(self) -> None:
        withdrawal = self.due_withdrawal(1)
        for pk, amount, reason in (
            (self.made.pk, 101, "left to correct"),
            (self.made.pk, 0, "must be positive"),
            (withdrawal.pk, 1, "cannot be corrected"),
            (10**9, 1, "No transaction"),
        ):
            with (
                self.subTest(reason),
                nothing_written(),
                self.assertRaisesMessage(CommandError, reason),
            ):
                self.post(pk, amount)
        for words in (("show", "x"), ("post", "1", "--amount", "1.5"), ()):
            with self.subTest(words), self.assertRaises(CommandError):
                self.run_command(*words)


@skipIf(connection.vendor == "sqlite", "one writer at a time")
@slow
class RaceTest(CommittingTestCase):
    def test_of_ten_that_take_all_takes_it_once(self) -> None:
        made = self.deposit(100)
        self.deposit(10_000)
        results = race(*[partial(take_back, made.pk, 100) for _ in range(10)])
        done = [one for one in results if isinstance(one, Correction)]
        refused = [one for one in results if isinstance(one, CorrectionTooLarge)]
        self.assertEqual((len(done), len(refused)), (1, 9), results)
        self.assert_money(self.alice, balance=10_000)

    def test_of_many_parts_by_clients_takes_no_more_than_the_whole(self) -> None:
        made = self.deposit(100)
        self.deposit(10_000)

        def part() -> Any:
            return correct_of(self.alice.uuid, made.pk, 40, reason=WHY, caller=ANYBODY)

        results = race(*[part] * 8)
        refused = [one for one in results if isinstance(one, CorrectionTooLarge)]
        self.assertEqual(len(refused), 6, results)
        self.assertEqual(look(made.pk).left, 20)
        self.assert_money(self.alice, balance=10_020)

    def test_of_one_key_by_clients_takes_it_once(self) -> None:
        made = self.deposit(100)
        key = uuid.uuid4()

        def again() -> Any:
            return correct_of(
                *(self.alice.uuid, made.pk, 40),
                reason=WHY,
                caller=ANYBODY,
                idempotency_key=key,
            )

        results = race(*[again] * 8)
        self.assertEqual(len({one.correction.pk for one in results}), 1)
        self.assertEqual(sum(not one.replayed for one in results), 1)
        self.assert_money(self.alice, balance=60)

    def test_of_two_lets_the_later_see_what_the_earlier_has_left(self) -> None:
        """It had looked before the lock: then the keys refused it, and it ran again."""
        made = self.deposit(100)
        lock_wallets = correction.postings.lock_wallets
        earlier = iter([partial(take_back, made.pk, 30)])

        def lock(ids: Iterable[int]) -> dict[int, Wallet]:
            for one in earlier:
                race(one)
            return lock_wallets(ids)

        runs = mock.Mock(wraps=correction._correct)
        with (
            mock.patch.object(correction.postings, "lock_wallets", lock),
            mock.patch.object(correction, "_correct", runs),
        ):
            later = take_back(made.pk, 70)
        self.assertEqual((later.number, later.left_after), (2, 0))
        self.assertEqual(runs.call_count, 2)

    def test_of_transfers_and_their_corrections_makes_no_deadlock(self) -> None:
        self.deposit(1000)
        self.deposit(1000, self.bob)

        def judge(_: Any, results: list[Any]) -> None:
            for one in results:
                self.assertNotIsInstance(one, Exception)

        rounds(
            FEW,
            lambda n: transfer(self.alice.uuid, self.bob.uuid, 3),
            [
                lambda made: take_back(made.debit_id, 1),
                lambda made: take_back(made.credit_id, 1),
                lambda made: transfer(self.bob.uuid, self.alice.uuid, 1),
                lambda made: transfer(self.alice.uuid, self.bob.uuid, 1),
            ],
            judge,
        )


class VerifyTest(WalletTestCase):
    """Each kind of damage is found, and its row is named."""

    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()
        self.made = self.deposit(100)
        self.done = take_back(self.made.pk, 60)
        self.moved = transfer(self.alice.uuid, self.bob.uuid, 40)

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def found(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for finding in ledger_audit.verify():
            found.setdefault(finding.check, []).append(finding.row)
        return found

    def again(self, **changes: Any) -> str:
        """Insert a second row for the same movements; return its name."""
        columns = Correction.objects.filter(pk=self.done.pk).values().get()
        del columns["id"]
        columns = {name.removesuffix("_id"): one for name, one in columns.items()}
        insert(Correction, columns | changes)
        return f"correction {changes.get('corrects', self.made.pk)}/{changes['number']}"

    def test_finds_nothing_in_right_books(self) -> None:
        self.assertEqual(self.found(), {})

    def test_finds_money_that_was_corrected_twice(self) -> None:
        with rules_off(Correction):
            self.again(number=2, previous=1, left_before=60, left_after=0, debit=10**6)
            found = self.found()
        name = f"transaction {self.made.pk}"
        self.assertEqual(found["corrected_twice"], [name])
        self.assertIn("correction_movements", found)

    def test_finds_a_chain_that_begins_with_another_amount(self) -> None:
        with rules_off(Correction):
            name = self.again(
                number=1,
                corrects=self.moved.credit_id,
                left_before=160,
                left_after=100,
                debit=10**6,
            )
            self.assertIn(name, self.found()["correction_begin"])

    def test_finds_a_correction_of_halves_of_different_transfers(self) -> None:
        done = take_back(self.moved.debit_id, 5)
        columns = Correction.objects.filter(pk=done.pk).values().get()
        del columns["id"]
        columns = {name.removesuffix("_id"): one for name, one in columns.items()}
        with rules_off(Correction):
            insert(
                Correction,
                columns
                | {
                    "number": 2,
                    "previous": 1,
                    "left_before": 35,
                    "left_after": 30,
                    "debit": 10**6,
                    "credit": 10**6 + 1,
                    "credit_corrects": self.made.pk,
                },
            )
            self.assertEqual(
                self.found()["correction_movements"],
                [f"correction {self.moved.credit_id}/2"],
            )

    def test_finds_an_entry_of_no_correction_that_moved_nothing(self) -> None:
        for kind in ("CORRECTION_OUT", "CORRECTION_IN"):
            with self.subTest(kind):
                entry = Transaction.objects.create(
                    wallet=self.bob,
                    transaction_type=kind,
                    amount=5,
                    status="COMPLETED",
                    executed_at=self.now,
                )
                self.assertEqual(
                    self.found(),
                    {"transaction_correction": [f"transaction {entry.pk}"]},
                )
                with rules_off():
                    execute(f"DELETE FROM wallets_transaction WHERE id = {entry.pk}")

    def test_finds_a_movement_of_no_correction(self) -> None:
        self.bob.refresh_from_db()
        entry = Transaction.objects.create(
            wallet=self.bob,
            transaction_type="CORRECTION_OUT",
            amount=5,
            status="COMPLETED",
            executed_at=self.now,
        )
        pk = insert(
            Movement,
            a_hold(self.bob.pk, entry.pk, self.bob.updated_at)
            | {
                "kind": "correction_out",
                "leg": "back",
                "to_account": "outside",
                "attempt_number": 0,
                "sequence": 2,
                "balance_after": 35,
            },
        )
        update(Wallet, self.bob.pk, {"balance": 35, "movement_count": 2})
        self.assertEqual(
            self.found(),
            {
                "movement_correction": [f"movement {pk}"],
                "transaction_correction": [f"transaction {entry.pk}"],
            },
        )
