"""The fast parser of timestamps reads the same values as the driver."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from unittest import skipUnless

from django.db import DataError, connection

from wallets.tests.base import WalletTestCase


@skipUnless(connection.vendor == "postgresql", "of PostgreSQL's driver")
class TimestampTest(WalletTestCase):
    def read(self, text: str) -> datetime:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::timestamptz", [text])
            return cursor.fetchone()[0]

    def test_is_read_to_the_microsecond_in_utc(self) -> None:
        first = datetime(2026, 2, 17, 12, tzinfo=timezone.utc)
        for microseconds in (0, 1, 10, 250000, 123456, 999999, 100000, 1000):
            instant = first + timedelta(microseconds=microseconds)
            found = self.read(instant.isoformat())
            self.assertEqual(found, instant)
            self.assertIs(found.tzinfo, timezone.utc)

    def test_is_read_at_the_ends_of_time(self) -> None:
        for instant in (datetime.min, datetime.max):
            aware = instant.replace(tzinfo=timezone.utc)
            self.assertEqual(self.read(aware.isoformat()), aware)

    def test_is_refused_where_python_has_no_such_time(self) -> None:
        with self.assertRaises(DataError):
            self.read("12026-02-17 12:00:00+00")
