"""`verify_events` names each thing that can be wrong with the feed."""

from __future__ import annotations

from contextlib import nullcontext
from io import StringIO
from unittest import mock

from django.core.management import CommandError, call_command
from django.db.models import F

from events.management.commands import verify_events
from events.models.event import Event, Source
from events.models.progress import Cursor, Gap
from events.services import sequencer, verify
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import CommittingTestCase, WalletTestCase

KINDS = {
    "schedule": "withdrawal.scheduled",
    "claim": "withdrawal.processing",
    "accepted": "withdrawal.completed",
}


class VerifyTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        Wallet.objects.filter(pk=self.bob.pk).delete()
        self.deposit(100)
        withdrawal = self.due_withdrawal(40)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        moved = Movement.objects.get(kind="deposit")
        created = Event(
            source=Source.WALLET,
            source_id=self.alice.pk,
            type="wallet.created",
            created_at=self.alice.created_at,
        )
        deposit = Event(
            source=Source.MOVEMENT,
            source_id=moved.pk,
            type="deposit.completed",
            created_at=moved.created_at,
        )
        changes = [
            Event(
                source=Source.TRANSITION,
                source_id=row.pk,
                type=KINDS[row.event],
                created_at=row.created_at,
            )
            for row in Transition.objects.order_by("sequence")
        ]
        self.events = [created, deposit, *changes]

    def found(self, *order: int) -> set[str]:
        """Give these events places in this order; return the checks that fail."""
        order = order or (0, 1, 2, 3, 4)
        for position, number in enumerate(order, start=1):
            event = self.events[number]
            event.position = event.position or position
            event.wallet_id = event.wallet_id or self.alice.pk
        Event.objects.bulk_create(self.events[number] for number in order)
        for source in Source:
            Cursor.objects.create(source=source, row_id=10**9)
        return {finding.check for finding in verify.verify()}

    def test_finds_nothing_in_a_right_feed(self) -> None:
        self.assertEqual(self.found(), set())

    def test_accepts_any_order_that_is_promised(self) -> None:
        self.assertEqual(self.found(0, 2, 1, 3, 4), set())

    def test_names_a_row_without_an_event(self) -> None:
        self.assertEqual(self.found(0, 2, 3, 4), {"missing"})
        (finding,) = verify.verify()
        self.assertEqual(finding.row, f"wallets_movement {self.events[1].source_id}")

    def test_does_not_miss_what_the_sequencer_has_not_reached(self) -> None:
        self.found(0, 2, 3, 4)
        Cursor.objects.filter(source=Source.MOVEMENT).update(row_id=0)
        self.assertEqual(list(verify.verify()), [])
        self.assertEqual(verify.waiting(), 1)

    def test_does_not_miss_what_may_be_in_a_gap(self) -> None:
        pk = self.events[1].source_id
        Gap.objects.create(
            **{"source": Source.MOVEMENT, "first": pk, "last": pk, "missing": str(pk)},
            **{"seen_at": self.now, "look_at": self.now},
        )
        self.assertEqual(self.found(0, 2, 3, 4), set())

    def test_counts_what_is_in_a_gap_as_waiting(self) -> None:
        self.test_does_not_miss_what_may_be_in_a_gap()
        self.assertEqual(verify.waiting(), 1)
        Gap.objects.update(missing=f"{self.events[1].source_id + 1}")
        self.assertEqual(verify.waiting(), 0)

    def test_names_a_hole_in_the_positions(self) -> None:
        self.events[4].position = 9
        self.assertEqual(self.found(), {"position"})

    def test_names_money_out_of_order(self) -> None:
        self.assertIn("statement_order", self.found(0, 2, 3, 1, 4))

    def test_names_a_history_out_of_order(self) -> None:
        self.assertEqual(self.found(0, 1, 3, 2, 4), {"history_order"})

    def test_names_what_is_before_the_creation_of_its_wallet(self) -> None:
        self.assertEqual(self.found(1, 0, 2, 3, 4), {"creation_order"})

    def test_names_an_event_of_another_type(self) -> None:
        self.events[2].type = "withdrawal.failed"
        self.assertEqual(self.found(), {"content"})

    def test_names_an_event_of_another_time(self) -> None:
        self.events[2].created_at = self.after(5)
        self.assertEqual(self.found(), {"content"})

    def test_names_an_event_without_a_row(self) -> None:
        self.events[2].source_id = 10**6
        self.assertEqual(self.found(), {"content", "missing"})

    def test_names_an_event_that_the_feed_cannot_tell(self) -> None:
        """Its source is one of a later release; all readers would stand still there."""
        self.events[2].source = 9
        self.assertEqual(self.found(), {"content", "missing"})

    def test_reads_what_is_beside_an_event_that_cannot_be_told(self) -> None:
        self.events[1].source = 9
        with mock.patch.object(verify, "_EVENTS_AT_ONCE", 2):
            self.found()
            details = {one.row: one.detail for one in verify.verify()}
        self.assertEqual(details["event 2"], "it cannot be read: KeyError")
        self.assertEqual([row for row in details if "event" in row], ["event 2"])

    def test_names_counters_of_the_ledger_that_do_not_agree(self) -> None:
        Transaction.objects.filter(transaction_type="WITHDRAWAL").update(
            version=F("version") + 1
        )
        Wallet.objects.filter(pk=self.alice.pk).update(
            movement_count=F("movement_count") + 1
        )
        self.books_must_be_right = False
        self.assertEqual(self.found(), {"movement_count", "version"})

    def test_is_a_command_that_fails_and_names_what_is_wrong(self) -> None:
        out = StringIO()
        self.found(0, 1, 3, 2, 4)
        with (
            # The test has its transaction already.
            mock.patch.object(verify_events, "read_snapshot", nullcontext),
            self.assertRaisesMessage(CommandError, "The feed is wrong: 1 findings."),
        ):
            call_command("verify_events", stdout=out)
        self.assertIn("history_order: event", out.getvalue())


class VerifyCommandTest(CommittingTestCase):
    def test_says_that_the_feed_is_right_and_what_waits(self) -> None:
        self.deposit(100)
        sequencer.catch_up()
        self.deposit(5)
        out = StringIO()
        call_command("verify_events", stdout=out)
        self.assertIn("The feed is right: 3 events; 1 changes wait", out.getvalue())
