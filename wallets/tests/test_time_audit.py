"""`verify_ledger` names movements and wallets whose times are in a wrong order."""

from __future__ import annotations

from datetime import timedelta

from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger.ledger_audit import verify
from wallets.services.wallet import WalletService
from wallets.tests.base import END_OF_TIME, WalletTestCase
from wallets.tests.raw import a_hold, insert, update


class TimeOrderTest(WalletTestCase):
    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()
        for amount in (1, 2, 3):
            self.deposit(amount)
            self.deposit(amount, self.bob)

    def found(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in verify(now=END_OF_TIME):
            found.setdefault(one.check, []).append(one.row)
        return found

    def add(self, seconds: float) -> int:
        """Insert a movement this long after Alice's last one; return its id."""
        made = Transaction.objects.create(
            wallet=self.alice,
            transaction_type="DEPOSIT",
            amount=5,
            status="COMPLETED",
            executed_at=self.now,
        )
        self.alice.refresh_from_db()
        moment = self.alice.updated_at + timedelta(seconds=seconds)
        columns = {
            "movement_count": self.alice.movement_count + 1,
            "balance": self.alice.balance + 5,
            "updated_at": moment,
        }
        update(Wallet, self.alice.pk, columns)
        return insert(
            Movement,
            a_hold(self.alice.pk, made.pk, moment)
            | {
                "kind": "deposit",
                "from_account": "outside",
                "to_account": "wallet",
                "attempt_number": 0,
                "sequence": columns["movement_count"],
                "balance_after": columns["balance"],
            },
        )

    def test_is_right_in_what_the_services_wrote(self) -> None:
        self.assertEqual(self.found(), {})

    def test_is_wrong_if_a_movement_is_before_the_one_before_it(self) -> None:
        for seconds in (-3600, -0.000001):
            with self.subTest(seconds):
                pk = self.add(seconds)
                found = self.found()["movement_back_in_time"]
                self.assertEqual(found[-1], f"movement {pk}")

    def test_is_right_if_two_movements_have_one_time(self) -> None:
        self.add(0)
        self.assertEqual(self.found(), {})

    def test_is_wrong_at_the_movement_after_one_in_the_future(self) -> None:
        self.add(3600)
        self.assertEqual(self.found(), {})
        pk = self.add(-1800)
        self.assertEqual(self.found(), {"movement_back_in_time": [f"movement {pk}"]})

    def test_is_that_of_each_wallet_alone(self) -> None:
        """The next wallet's first movement may be older than this one's last."""
        self.deposit(1, WalletService.create())
        self.assertEqual(self.found(), {})

    def test_is_wrong_if_a_wallet_has_another_time_than_its_last_movement(self) -> None:
        known = Wallet.objects.get(pk=self.alice.pk).updated_at
        for seconds in (-1, 1):
            with self.subTest(seconds):
                moment = known + timedelta(seconds=seconds)
                update(Wallet, self.alice.pk, {"updated_at": moment})
                self.assertEqual(
                    self.found(), {"last_movement_time": [f"wallet {self.alice.uuid}"]}
                )

    def test_is_right_of_a_wallet_without_movements(self) -> None:
        update(Wallet, WalletService.create().pk, {"updated_at": self.after(-9)})
        self.assertEqual(self.found(), {})
