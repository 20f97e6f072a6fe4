"""The rules of the feed's tables, each violated by SQL."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, connection, transaction

from events.models.event import Event, Source
from wallets.services.operations import safeguards
from wallets.tests.base import WalletTestCase
from wallets.tests.raw import prepared

RULES: dict[str, dict[str, Any]] = {
    "event_once_per_row": {"position": 2},
    "event_position_positive": {"position": 0, "source_id": 8},
    "event_type_not_empty": {"position": 2, "source_id": 8, "type": ""},
}


class EventConstraintTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.row = {
            **{"position": 1, "source": Source.WALLET, "source_id": 7},
            **{"wallet": self.alice.pk, "type": "wallet.created"},
            "created_at": self.now,
        }
        self.insert()

    def insert(self, **changes: Any) -> None:
        names, values = prepared(Event, self.row | changes)
        places = ", ".join(["%s"] * len(values))
        sql = f"INSERT INTO events_event ({', '.join(names)}) VALUES ({places})"
        with connection.cursor() as cursor:
            cursor.execute(sql, values)

    def test_refuses_the_row_that_breaks_it(self) -> None:
        for name, changes in RULES.items():
            with (
                self.subTest(name),
                self.assertRaises(IntegrityError) as got,
                transaction.atomic(),
            ):
                self.insert(**changes)
            names = {name}
            if connection.vendor == "sqlite" and name == "event_once_per_row":
                names = {"events_event.source, events_event.source_id"}
            self.assertTrue(any(one in str(got.exception) for one in names), name)

    def test_allows_one_event_for_each_position(self) -> None:
        with self.assertRaises(IntegrityError), transaction.atomic():
            self.insert(source_id=8)

    def test_accepts_the_next_row(self) -> None:
        self.insert(position=2, source_id=8)

    def test_is_tried_for_every_named_rule(self) -> None:
        named = {constraint.name for constraint in Event._meta.constraints}
        self.assertEqual(named, set(RULES))

    def test_is_there_with_its_triggers(self) -> None:
        self.assertEqual(list(safeguards.lost(connection)), [])
        self.assertTrue(safeguards.is_migrated(connection))
