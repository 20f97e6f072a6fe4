"""Guarded updates of many rows in one statement: all of them, or none."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.test import skipUnlessDBFeature

from wallets.errors import LostRace
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections
from wallets.tests.races import be_impatient
from wallets.utils.database.batch import (
    GuardedUpdate,
    as_new,
    as_stored,
    guarded_updates,
)
from wallets.utils.database.transactions import guarded_update, lock_rows


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


# Values that a document, a quoted string or a column could change.
TEXTS = ["", "plain", 'it\'s "quoted" \\ back\\slash', "%s %% {}", "ä 😀 \u2028\n\t"]


class GuardedUpdatesTest(WalletTestCase):
    books_must_be_right = False  # some rows are written without the others

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

    def test_write_what_single_updates_write(self):
        """Texts, times, UUIDs, JSON, numbers and NULL, in one statement and singly."""
        rows = [self.attempt() for _ in TEXTS]
        values = [
            {
                "answer": text,
                "next_check_at": self.after(n) if n % 2 else None,
                "http_status": 200 + n if n % 2 else None,
                "claim_token": uuid.uuid4(),
                "waits": {"text": text, "number": n} if n % 2 else None,
                "checks": n * 1_000_000,
            }
            for n, text in enumerate(TEXTS)
        ]
        pairs = list(zip(rows, values, strict=True))
        with transaction.atomic():
            guarded_updates(
                Attempt,
                [
                    GuardedUpdate({"pk": row.pk, "open": True}, value)
                    for row, value in pairs
                ],
            )
        written = self.written(values[0])
        for row, value in pairs:
            guarded_update(Attempt, {"pk": row.pk}, **value)
        self.assertEqual(self.written(values[0]), written)
        self.assertEqual(written, [tuple(value.values()) for value in values])

    def attempt(self) -> Attempt:
        now = self.after(0)
        return Attempt.objects.create(
            transaction=self.due_withdrawal(1),
            number=1,
            reference=uuid.uuid4(),
            started_at=now,
            last_sent_at=now,
            lease_expires_at=now,
        )

    def written(self, names: Iterable[str]) -> list[Any]:
        return list(Attempt.objects.order_by("pk").values_list(*names))

    def test_compare_texts_by_their_letters(self):
        """A collation of MySQL and MariaDB takes `pending` for `PENDING`."""
        rows = [self.due_withdrawal(1) for _ in range(2)]
        changes = {"updated_at": self.after(60)}
        updates = [
            GuardedUpdate({"pk": row.pk, "status": row.status.lower()}, changes)
            for row in rows
        ]
        with self.assertRaises(LostRace), transaction.atomic():
            guarded_updates(Transaction, updates)

    def test_refuse_values_that_no_column_can_hold(self):
        """A document's number is never cut to the largest of its column."""
        updates = [
            GuardedUpdate({"pk": wallet.pk}, {"movement_count": -1})
            for wallet in (self.alice, self.bob)
        ]
        with self.assertRaises(Exception), transaction.atomic():  # noqa: B017
            guarded_updates(Wallet, updates)


@skipUnlessDBFeature("has_select_for_update")
class GuardedUpdatesLockTest(CommittingTestCase):
    def test_waits_for_no_row_but_its_own(self):
        """In a small table a scan costs less than the index, and meets every lock."""
        others = [Wallet.objects.create() for _ in range(3)]
        locked, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                lock_rows(Wallet.objects.filter(pk__in=[row.pk for row in others]))
                locked.set()
                let_go.wait(15)
            close_connections()

        holder = threading.Thread(target=hold)
        holder.start()
        self.addCleanup(holder.join)
        self.addCleanup(let_go.set)
        self.assertTrue(locked.wait(15))
        changes = {"updated_at": self.after(60)}
        with transaction.atomic():
            be_impatient(self)
            guarded_updates(
                Wallet,
                [
                    GuardedUpdate({"pk": row.pk, "movement_count": 0}, changes)
                    for row in (self.alice, self.bob)
                ],
            )
        stamped = Wallet.objects.filter(updated_at=self.after(60))
        self.assertEqual(stamped.count(), 2)
