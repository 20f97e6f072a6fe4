"""A damaged row on a page of the console: it is shown as damaged, the others as always.

The damage is done by raw SQL with the database's own rules off, as in
`wallets.tests.test_damaged_rows`.
"""

from __future__ import annotations

from typing import Any

from django.core.cache import cache

from console.forms import parse_cursor
from console.queries.listing import Filters, page
from console.tests.base import ConsoleTestCase
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.tests.raw import execute, insert, rules_off, update
from wallets.tests.unreadable import damage_time


class TwoInReviewCase(ConsoleTestCase):
    """Two withdrawals are in review; rows of the first one will be damaged."""

    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.damaged = self.withdrawal_in_review(100)
        self.sound = self.withdrawal_in_review(101)

    def text_of(self, path: str) -> str:
        answer = self.client.get(path)
        self.assertEqual(answer.status_code, 200, path)
        return answer.content.decode()


class DamagedRowTest(TwoInReviewCase):
    """Rows of the first withdrawal in review are damaged."""

    def assert_lists_both(self, path: str) -> str:
        text = self.text_of(path)
        for row in (self.damaged, self.sound):
            self.assertIn(f'href="/console/withdrawals/{row.pk}"', text)
        return text

    def damage(self, model: type, pk: int, **columns: Any) -> None:
        with rules_off(model):
            update(model, pk, columns)

    def delete(self, model: type, column: str, value: int) -> None:
        with rules_off(model):
            execute(f"DELETE FROM {model._meta.db_table} WHERE {column} = {value}")

    def test_without_an_attempt_is_in_the_review_queue_and_cannot_be_resolved(self):
        self.delete(Attempt, "transaction_id", self.damaged.pk)
        text = self.assert_lists_both("/console/review")
        self.assertEqual(text.count("Damaged"), 1)
        self.assertIn("verify_ledger", text)
        self.assertNotIn(f"/console/withdrawals/{self.damaged.pk}/resolve", text)
        self.assertIn(f"/console/withdrawals/{self.sound.pk}/resolve/paid", text)

    def test_with_an_unknown_status_is_in_lists_and_has_a_page(self):
        self.damage(Transaction, self.damaged.pk, status="BOGUS")
        text = self.assert_lists_both("/console/withdrawals")
        self.assertIn("Damaged: BOGUS", text)
        self.assert_lists_both(f"/console/withdrawals?wallet={self.alice.uuid}")
        own = self.text_of(f"/console/withdrawals/{self.damaged.pk}")
        self.assertIn("Damaged: BOGUS", own)
        for deed in ("resolve", "cancel", "reschedule", "record", "retry"):
            self.assertNotIn(f"/console/withdrawals/{self.damaged.pk}/{deed}", own)
        self.text_of(f"/console/withdrawals/{self.damaged.pk}/cancel")

    def test_without_a_status_says_so(self):
        self.damage(Transaction, self.damaged.pk, status="")
        self.assertIn("Damaged: no state", self.text_of("/console/withdrawals"))

    def test_without_a_time_may_end_a_page(self):
        self.damage(Transaction, self.sound.pk, scheduled_for=None)
        found = page(Filters(), size=1)
        self.assertEqual(found.rows, [self.sound])
        after = parse_cursor(str(found.next))
        self.assertEqual(page(Filters(), after, size=1).rows, [self.damaged])

    def test_of_a_history_is_shown_as_it_is(self):
        with rules_off(Transition):
            insert(
                Transition,
                {
                    "transaction": self.damaged.pk,
                    "sequence": 99,
                    "event": "odd",
                    "from_state": "bogus",
                    "to_state": "wrong",
                    "actor": "a hand",
                    "evidence": "",
                    "created_at": self.now,
                },
            )
        text = self.text_of(f"/console/withdrawals/{self.damaged.pk}")
        for name in ("Damaged: bogus", "Damaged: wrong", "Needs review"):
            self.assertIn(name, text)

    def test_of_an_alarm_of_an_unknown_kind_is_shown(self):
        """A later release may have written it, before a roll-back."""
        first = Alarm.objects.filter(transaction=self.damaged).get()
        self.damage(Alarm, first.pk, kind="of_tomorrow")
        text = self.assert_lists_both("/console/alarms")
        self.assertIn("Of tomorrow", text)
        self.assertIn("does not know this kind", text)

    def test_whose_withdrawal_is_gone_leaves_its_alarm(self):
        self.delete(Transaction, "id", self.damaged.pk)
        for path in ("/console/alarms", "/console/alarms?all=1", "/console/"):
            text = self.text_of(path)
            self.assertIn(f"withdrawal {self.damaged.pk}", text)
            self.assertNotIn(f'href="/console/withdrawals/{self.damaged.pk}"', text)
            self.assertIn(f'href="/console/withdrawals/{self.sound.pk}"', text)


class UnreadableRowTest(TwoInReviewCase):
    """The first withdrawal cannot be read: the pages show the second, and its alarm."""

    def test_leaves_every_page_with_the_others(self) -> None:
        paths = ("/console/review", "/console/withdrawals")
        paths += ("/console/withdrawals?status=PROCESSING",)
        for path in paths:
            self.assertIn(f"/console/withdrawals/{self.sound.pk}", self.text_of(path))
        for damage in (
            lambda: damage_time(self.damaged, "created_at"),
            lambda: damage_time(self.damaged, "unknown_since", "scheduled_for"),
            lambda: damage_time(self.damaged.attempts.get(), "last_sent_at"),
        ):
            damage()
            cache.clear()
            for path in (*paths, "/console/"):
                text = self.text_of(path)
                if path in paths:
                    self.assertIn(f"/console/withdrawals/{self.sound.pk}", text)
            self.assertIn("damaged rows", self.text_of("/console/alarms").casefold())
        page(Filters(), size=1)
