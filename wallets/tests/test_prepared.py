"""Statements of PostgreSQL that each connection prepares once."""

from __future__ import annotations

import uuid
from unittest import TestCase, mock, skipUnless

from django.db import connection

from wallets.services.transfers.transfer import transfer
from wallets.tests.base import CommittingTestCase
from wallets.utils.caller import Caller
from wallets.utils.database.prepared import native


class NativeTest(TestCase):
    """A statement with named values…"""

    def test_has_a_place_for_each_name(self) -> None:
        found = native("SELECT %(b)s::int, %(a)s, %(b)s, 5 %% 2, '100%%'")
        self.assertEqual(found, ("SELECT $1::int, $2, $1, 5 % 2, '100%'", ["b", "a"]))

    def test_is_read_once(self) -> None:
        sql = f"SELECT '{uuid.uuid4()}', %(a)s"
        self.assertIs(native(sql), native(sql))


@skipUnless(connection.vendor == "postgresql", "a driver of PostgreSQL's")
class ExecuteTest(CommittingTestCase):
    """A statement of any length…"""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    def test_is_never_read_by_the_driver(self) -> None:
        """It forgets statements of more than 4,096 characters at once."""
        callers = Caller(), Caller(actor="key")
        with (
            mock.patch("psycopg._queries._query2pg") as short,
            mock.patch("psycopg._queries._query2pg_nocache") as long,
        ):
            for caller in callers:
                transfer(self.alice.uuid, self.bob.uuid, 1, caller=caller)
        self.assertEqual([*short.mock_calls, *long.mock_calls], [])
