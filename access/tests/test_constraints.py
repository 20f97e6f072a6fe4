"""The database refuses keys that cannot be, and changes of their history."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, IntegrityError, transaction

from access.models.api_key import ApiKey
from access.models.key_event import KeyEvent
from wallets.tests.base import WalletTestCase
from wallets.utils.database.transactions import database_now


class ConstraintTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.number = 0
        self.key = self.insert(name="other")

    def insert(self, **columns: Any) -> ApiKey:
        self.number += 1
        given = {
            "name": "shop",
            "prefix": f"wk_{self.number:08}",
            "digest": f"{self.number:064}",
            "scopes": ["*"],
            "created_by": "test",
        }
        return ApiKey.objects.create(**given | columns)

    def assert_refused(self, by: str, /, **columns: Any) -> None:
        with self.assertRaises(IntegrityError) as caught, transaction.atomic():
            self.insert(**columns)
        if by:
            self.assertIn(by, str(caught.exception))

    def test_refuses_the_insert_of_a_key_that_breaks_it(self) -> None:
        now = database_now()
        gone = {"current": None, "revoked_at": now}
        for name, columns in (
            ("api_key_current_or_null", {"current": False}),
            ("api_key_has_name_and_digest", {"name": ""}),
            ("api_key_has_name_and_digest", {"created_by": ""}),
            ("api_key_has_name_and_digest", {"digest": ""}),
            ("api_key_rate_positive", {"rate": 0}),
            ("api_key_revoked_by_somebody", gone),
            ("api_key_revoked_by_somebody", gone | {"revoked_by": "x"}),
            ("api_key_revoked_by_somebody", {"revoked_reason": "x"}),
            (
                "api_key_revoked_by_somebody",
                {"revoked_at": now, "revoked_by": "x", "revoked_reason": "x"},
            ),
            ("api_key_rotated_away_ends", {"current": None}),
        ):
            with self.subTest(name, **columns):
                self.assert_refused(name, **columns)

    def test_refuses_what_another_key_has(self) -> None:
        for columns in (
            {"name": self.key.name},  # api_key_one_current_of_a_name
            {"prefix": self.key.prefix},
            {"digest": self.key.digest},
        ):
            with self.subTest(**columns):
                self.assert_refused("", **columns)

    def test_lets_old_keys_of_a_name_stay(self) -> None:
        now = database_now()
        for _ in range(2):
            self.insert(name=self.key.name, current=None, expires_at=now)

    def test_refuses_two_successors_of_a_key(self) -> None:
        self.insert(name="a", rotated_from=self.key)
        self.assert_refused("", name="b", rotated_from=self.key)

    def test_refuses_a_history_that_says_a_thing_twice_or_of_nobody(self) -> None:
        KeyEvent.objects.create(key=self.key, kind="created", actor="x")
        for columns in (
            {"kind": "created", "actor": "x"},  # key_event_once_of_a_kind
            {"kind": "revoked", "actor": ""},  # key_event_has_actor
            {"kind": "", "actor": "x"},
        ):
            with (
                self.subTest(**columns),
                self.assertRaises(IntegrityError),
                transaction.atomic(),
            ):
                KeyEvent.objects.create(key=self.key, **columns)

    def test_refuses_changes_of_the_history(self) -> None:
        KeyEvent.objects.create(key=self.key, kind="created", actor="x")
        with self.assertRaises(DatabaseError), transaction.atomic():
            KeyEvent.objects.update(actor="y")
        with self.assertRaises(DatabaseError), transaction.atomic():
            KeyEvent.objects.all()._raw_delete("default")
