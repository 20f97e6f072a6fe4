"""The events of requests that are made again after a restored backup."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from events.services import feed, sequencer
from events.services.content import EventRecord
from wallets.models.wallet_change import WalletChange
from wallets.services.corrections.correction import correct
from wallets.services.operations.payment_return import record_return
from wallets.services.transfers.transfer import transfer
from wallets.services.wallet import WalletService
from wallets.services.wallets import life
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import OSCAR, WalletTestCase


@contextmanager
def lost() -> Iterator[None]:
    """What the block commits is not in the backup that is restored at its end."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]
    with block:
        yield
        transaction.set_rollback(True)


class Case(WalletTestCase):
    def events(self) -> list[EventRecord]:
        sequencer.catch_up()
        return feed.read(0, 99)


class RestoredTest(Case):
    """After a restore an event of a request that is made again…"""

    def keys(self) -> Iterator[uuid.UUID]:
        return (uuid.UUID(int=number) for number in range(1, 99))

    def ask_for_everything(self) -> None:
        """Make requests of every kind, each with its key."""
        key, alice, bob = self.keys(), self.alice.uuid, self.bob.uuid
        deposit = WalletService.deposit(alice, 100, next(key))
        moved = transfer(alice, bob, 50, next(key))
        for pk, amount in ((deposit.pk, 1), (moved.debit_id, 2), (moved.credit_id, 3)):
            why = {"reason": "typed wrongly", "actor": OSCAR}
            correct(pk, amount, idempotency_key=next(key), **why)
        kept, dropped = (
            WithdrawalService.schedule(
                alice, 5, self.now, next(key), now=self.after(-3600)
            )
            for _ in range(2)
        )
        WithdrawalService.reschedule(dropped.pk, self.after(600), now=self.now)
        WithdrawalService.cancel(dropped.pk)
        WithdrawalService.execute(kept.pk, bank=self.bank, now=self.now)
        record_return(kept.pk, 5, return_reference="1", reason="closed", actor=OSCAR)
        WalletService.change(alice, {"reference": "alice"})
        life.freeze(bob, "both", reason="a letter", actor=OSCAR)

    def test_has_the_id_and_the_key_that_it_had(self) -> None:
        with lost():
            self.ask_for_everything()
            before = self.events()
        self.ask_for_everything()
        after = self.events()
        self.assertGreaterEqual(len({one.type for one in before}), 13)
        told = [
            [
                (one.type, one.wallet, one.id, one.data.get("idempotency_key"))
                for one in of
            ]
            for of in (before, after)
        ]
        self.assertEqual(*told)
        self.assertEqual(len({one.id for one in after}), len(after))

    def test_names_both_events_of_a_correction_by_the_clients_key(self) -> None:
        self.deposit(100)
        moved, key = transfer(self.alice.uuid, self.bob.uuid, 50), uuid.uuid4()
        correct(moved.debit_id, 5, reason="x", actor=OSCAR, idempotency_key=key)
        posted = [one for one in self.events() if one.type == "correction.posted"]
        wallets = {one.wallet: one.data["idempotency_key"] for one in posted}
        self.assertEqual(wallets, {self.alice.uuid: str(key), self.bob.uuid: str(key)})


class AnotherThingTest(Case):
    """After a restore an event of what happens otherwise…"""

    def test_of_a_wallet_has_another_id(self) -> None:
        with lost():
            WalletService.change(self.alice.uuid, {"reference": "alice"})
            before = self.events()[-1]
        for reference in ("alicia", "alice"):
            with self.subTest(reference), lost():
                WalletService.change(self.alice.uuid, {"reference": reference})
                after = self.events()[-1]
                self.assertEqual(after.data["change"], before.data["change"])
                self.assertEqual(after.id == before.id, reference == "alice")
        with lost():
            life.freeze(self.alice.uuid, "both", reason="a letter", actor=OSCAR)
            self.assertEqual(WalletChange.objects.get().sequence, 1)
            self.assertNotEqual(self.events()[-1].id, before.id)

    def test_of_a_rescheduled_withdrawal_has_another_id(self) -> None:
        row = self.due_withdrawal(5)
        ids = []
        for seconds in (600, 700, 600):
            with lost():
                WithdrawalService.reschedule(row.pk, self.after(seconds), now=self.now)
                ids.append(self.events()[-1].id)
        self.assertEqual(len(set(ids)), 2)
        self.assertEqual(ids[0], ids[2])
