"""Damaged transfers: each kind of damage is found, and its row is named."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import connection

from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit
from wallets.services.transfers.transfer import transfer
from wallets.tests.base import WalletTestCase
from wallets.tests.raw import a_hold, execute, insert, rules_off, update


class VerifyTest(WalletTestCase):
    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def setUp(self) -> None:
        super().setUp()
        self.first = self.deposit(100)
        self.made = Transfer.objects.get(
            uuid=transfer(self.alice.uuid, self.bob.uuid, 30).uuid
        )
        self.name = f"transfer {self.made.uuid}"

    def found(self) -> dict[str, list[str]]:
        """Return the named rows by kind of damage."""
        found: dict[str, list[str]] = {}
        for finding in ledger_audit.verify():
            found.setdefault(finding.check, []).append(finding.row)
        return found

    def move(self, leg: str, transaction: Transaction, **changes: Any) -> int:
        """Insert one more half by SQL, and let the wallet agree with it."""
        wallet = transaction.wallet
        wallet.refresh_from_db()
        amount = changes.get("amount", 30)
        columns = {
            "balance": wallet.balance + (amount if leg == "in" else -amount),
            "movement_count": wallet.movement_count + 1,
        }
        update(Wallet, wallet.pk, columns)
        ends = ("wallet", "clearing") if leg == "out" else ("clearing", "wallet")
        return insert(
            Movement,
            a_hold(wallet.pk, transaction.pk, wallet.updated_at)
            | {
                "transfer": self.made.uuid,
                "attempt_number": 0,
                "kind": f"transfer_{leg}",
                "leg": leg,
                "from_account": ends[0],
                "to_account": ends[1],
                "amount": amount,
                "sequence": columns["movement_count"],
                "balance_after": columns["balance"],
            }
            | changes,
        )

    def half(self, kind: str, wallet: Wallet, amount: int = 30) -> Transaction:
        return Transaction.objects.create(
            wallet=wallet,
            transaction_type=kind,
            amount=amount,
            status="COMPLETED",
            executed_at=self.now,
        )

    def test_finds_nothing_in_right_books(self) -> None:
        self.assertEqual(self.found(), {})

    def test_finds_a_half_without_its_transfer(self) -> None:
        """MySQL and MariaDB accept it."""
        half = self.half("TRANSFER_OUT", self.alice)
        with rules_off():
            none = uuid.uuid4()
            pk = self.move("out", half, transfer=none)
            self.assertEqual(
                self.found(),
                {
                    "clearing": ["clearing"],
                    "movement_transfer": [f"movement {pk}"],
                    "missing_row": [f"transfer uuid {none}"],
                },
            )

    def test_finds_a_third_half(self) -> None:
        """MySQL and MariaDB accept it."""
        execute_on_others("DROP INDEX movement_one_per_half")
        pk = self.move("in", self.half("TRANSFER_IN", self.bob))
        self.assertEqual(
            self.found(),
            {"clearing": ["clearing"], "movement_transfer": [f"movement {pk}"]},
        )

    def test_finds_a_transfer_that_moved_nothing(self) -> None:
        with rules_off(Transfer):
            row = {
                "uuid": uuid.uuid4(),
                "from_wallet": self.alice.pk,
                "to_wallet": self.bob.pk,
                "debit": self.first.pk,
                "credit": 10**6,
                "amount": 30,
                "created_at": self.now,
                "attempt_number": 0,
                "debit_leg": "out",
                "credit_leg": "in",
            }
            insert(Transfer, row)
            self.assertEqual(
                self.found(),
                {
                    "transfer_halves": [f"transfer {row['uuid']}"],
                    "missing_row": ["transaction 1000000"],
                },
            )

    def test_finds_halves_of_different_amounts(self) -> None:
        update(Transaction, self.made.credit_id, {"amount": 29})
        found = self.found()
        self.assertEqual(len(found["movement_amount"]), 1)

    def test_finds_a_transfer_in_another_wallet(self) -> None:
        carol = Wallet.objects.create()
        with rules_off():
            update(Transaction, self.made.credit_id, {"wallet": carol.pk})
            self.assertEqual(len(self.found()["movement_wallet"]), 1)

    def test_finds_a_half_without_money(self) -> None:
        half = self.half("TRANSFER_IN", self.bob)
        self.assertEqual(
            self.found(), {"transfer_movement": [f"transaction {half.pk}"]}
        )

    def test_finds_wallets_of_two_currencies(self) -> None:
        update(Wallet, self.bob.pk, {"currency": "JPY"})
        self.assertEqual(self.found(), {"transfer_currency": [self.name]})

    def test_finds_a_movement_of_another_kind_than_its_transaction(self) -> None:
        update(Transaction, self.made.debit_id, {"transaction_type": "DEPOSIT"})
        found = self.found()
        (pk,) = self.made.debit.movements.values_list("pk", flat=True)
        self.assertEqual(found["movement_type"], [f"movement {pk}"])
        self.assertEqual(found["transfer_halves"], [self.name])


def execute_on_others(sql: str) -> None:
    """Run SQL where the rule that it drops exists; the test's rollback restores it."""
    if connection.features.supports_partial_indexes:
        if connection.vendor == "postgresql":
            execute("SET CONSTRAINTS ALL IMMEDIATE")
        execute(sql)
