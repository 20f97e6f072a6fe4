"""What clients look at: many at once, each with an answer of its own."""

from __future__ import annotations

import uuid

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.reads import (
    transactions_by_id,
    wallets_by_uuid,
)
from wallets.tests.base import WalletTestCase

# What is asked for and is not there, or cannot be.
NOBODY = uuid.UUID(int=7)
NONSENSE = "no-uuid"


def plain(row: Wallet | Transaction) -> dict[str, object]:
    """The columns of a row, by name."""
    return {f.attname: getattr(row, f.attname) for f in row._meta.concrete_fields}


class WalletsTest(WalletTestCase):
    def test_are_found_in_the_order_asked_for(self) -> None:
        self.deposit(5)
        asked = [self.bob.uuid, NOBODY, str(self.alice.uuid), NONSENSE, self.bob.uuid]
        bob, nobody, alice, nonsense, again = wallets_by_uuid(asked)
        for one in (nobody, nonsense):
            self.assertIsInstance(one, Wallet.DoesNotExist)
        for found in (alice, bob, again):
            self.assertEqual(plain(found), plain(Wallet.objects.get(uuid=found.uuid)))
        self.assertEqual(
            [bob.pk, alice.pk, again.pk], [self.bob.pk, self.alice.pk, self.bob.pk]
        )
        self.assertEqual((bob.balance, alice.balance), (0, 5))

    def test_are_one_query_however_many(self) -> None:
        for count in (1, 40):
            with self.assertNumQueries(1):
                wallets_by_uuid([self.alice.uuid] * count)
        self.assertEqual(wallets_by_uuid([]), [])


class TransactionsTest(WalletTestCase):
    def test_are_found_only_under_their_own_wallet(self) -> None:
        made = self.deposit(5)
        planned = self.due_withdrawal(3, self.bob)
        alice = self.alice.uuid
        found = transactions_by_id(
            [
                (self.bob.uuid, planned.pk),
                (alice, planned.pk),
                (str(alice), made.pk),
                (alice, 2**70),
                (alice, 0),
                (NOBODY, made.pk),
                (NONSENSE, made.pk),
            ]
        )
        self.assertEqual(
            [isinstance(one, Transaction) for one in found],
            [True, False, True, False, False, False, False],
        )
        for one in (found[0], found[2]):
            self.assertEqual(plain(one), plain(Transaction.objects.get(pk=one.pk)))
        self.assertEqual(plain(found[2].wallet), plain(Wallet.objects.get(uuid=alice)))
        self.assertEqual(found[0].wallet.uuid, self.bob.uuid)
        for other in found[3:]:
            self.assertIsInstance(other, Transaction.DoesNotExist)
