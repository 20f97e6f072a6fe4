"""Guarded updates of many rows in one statement: all of them, or none."""

from __future__ import annotations

from django.db import transaction

from wallets.errors import LostRace
from wallets.models.wallet import Wallet
from wallets.tests.base import WalletTestCase
from wallets.utils.database.batch import (
    GuardedUpdate,
    as_new,
    as_stored,
    guarded_updates,
)


class AsStoredTest(WalletTestCase):
    def test_is_as_if_it_had_been_read(self) -> None:
        read = Wallet.objects.get(pk=self.alice.pk)
        columns = {name: getattr(read, name) for name in ("id", "uuid", "balance")}
        made = as_stored(Wallet, **columns, created_at=read.created_at)
        self.assertEqual(made, read)
        self.assertEqual(made._state.__dict__, read._state.__dict__)
        self.assertEqual(set(vars(made)), set(vars(read)))

    def test_knows_only_columns(self) -> None:
        with self.assertRaisesRegex(TypeError, "balanse"):
            as_new(Wallet, balanse=1)


class GuardedUpdatesTest(WalletTestCase):
    def update(self, bobs_count: int) -> None:
        """Set `updated_at` of both wallets, if Bob's still has this many movements."""
        changes = {"updated_at": self.after(60)}
        updates = [
            GuardedUpdate({"pk": self.alice.pk, "movement_count": 0}, changes),
            GuardedUpdate({"pk": self.bob.pk, "movement_count": bobs_count}, changes),
        ]
        with transaction.atomic():
            guarded_updates(Wallet, updates)

    def stamped(self) -> int:
        return Wallet.objects.filter(updated_at=self.after(60)).count()

    def test_change_all_rows_that_still_are_as_expected(self):
        self.update(bobs_count=0)
        self.assertEqual(self.stamped(), 2)

    def test_change_none_when_one_is_not_as_expected(self):
        with self.assertRaises(LostRace):
            self.update(bobs_count=7)
        self.assertEqual(self.stamped(), 0)
