"""A database that answers and accepts no writes, as the old primary after a fail-over.

Only the session is read-only here: a new one reaches the new primary.
"""

from __future__ import annotations

import json
from unittest import mock, skipUnless

from django.db import OperationalError, close_old_connections, connection
from django.test import SimpleTestCase

from drills import servers
from wallets import checks
from wallets.models.tally import Tally
from wallets.services.operations import metrics
from wallets.tests import marks
from wallets.tests.api import FUTURE, Api, item
from wallets.tests.asgi import AsgiClient
from wallets.tests.base import CommittingTestCase
from wallets.tests.outages import refusals, set_read_only
from wallets.utils.database import outage, read_only

VENDOR = connection.vendor
on_a_server = skipUnless(VENDOR != "sqlite", "SQLite has no sessions of a server")


@on_a_server
class ReadOnlySessionTest(Api, CommittingTestCase):
    """A session that accepts no writes…"""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.addCleanup(connection.close)

    def writes(self) -> list[tuple[str, str]]:
        return [
            ("/wallets/", "{}"),
            (self.path("deposit"), '{"amount":5}'),
            (self.path("withdraw"), f'{{"amount":5,"scheduled_for":"{FUTURE}"}}'),
            ("/deposits/", json.dumps([item(self.alice), item(self.bob)])),
        ]

    def test_refuses_each_write_and_is_closed_so_that_the_next_is_done(self) -> None:
        for path, body in self.writes():
            with self.subTest(path):
                set_read_only(True)
                answer = self.post(path, body)
                self.assert_problem(answer, 503, "service_unavailable")
                self.assertEqual(answer.headers["Retry-After"], "5")
                # As both transports do after each request.
                close_old_connections()
                self.assertIsNone(connection.connection)
                self.assertLess(self.post(path, body).status_code, 300)

    def test_still_answers_what_is_read(self) -> None:
        set_read_only(True)
        self.assertEqual(self.get(self.path()).json()["balance"], 1000)

    def test_is_not_ready(self) -> None:
        set_read_only(True)
        answer = self.get("/readyz")
        problem = self.assert_problem(answer, 503, "service_unavailable")
        self.assertEqual(problem["checks"]["database"], "read-only")
        self.assertEqual(problem["checks"]["migrations"], "ok")
        set_read_only(False)
        self.assertEqual(self.get("/readyz").json()["checks"]["database"], "ok")

    def test_is_named_by_the_check(self) -> None:
        self.assertEqual(checks.sessions_are_safe(databases=["default"]), [])
        set_read_only(True)
        found = checks.sessions_are_safe(databases=["default"])
        self.assertEqual([message.id for message in found], ["wallets.E029"])

    def test_keeps_no_figure_from_being_counted(self) -> None:
        later = mock.patch.object(metrics, "database_now", return_value=self.after(120))
        for stored in (False, True):
            with self.subTest(stored=stored), later:
                set_read_only(True)
                self.assertEqual(metrics.figures().totals["count:deposit"], 1)
                connection.close()
                if stored:
                    continue
                self.assertFalse(Tally.objects.exists())
                Tally.objects.create(name="movement")

    def test_is_a_database_that_is_away_and_is_closed_after_it(self) -> None:
        """Answers of the bank are kept meanwhile: `test_recording.py`."""
        told = [one for name, one in refusals().items() if "only reads" in name]
        if VENDOR == "mysql":
            told.append(type(told[0])(1792, "in a READ ONLY transaction"))
        for refusal in told:
            connection.ensure_connection()
            with (
                self.subTest(refusal),
                self.assertRaises(OperationalError) as got,
                connection.wrap_database_errors,
            ):
                raise refusal
            self.assertTrue(outage.is_away(got.exception))
            close_old_connections()
            self.assertIsNone(connection.connection)


class ReadOnlySessionOverASGITest(ReadOnlySessionTest):
    client_class = AsgiClient


@skipUnless(VENDOR == "mysql", "PostgreSQL's sessions say it themselves")
@marks.slow
class ReadOnlyServerTest(SimpleTestCase):
    """`read_only` of a whole server, which privileged users may ignore…"""

    databases = ("default",)

    def test_is_seen_by_its_sessions(self) -> None:
        if reason := servers.missing("mariadb"):
            self.skipTest(f"no server of our own: {reason}")
        server = servers.start("mariadb")
        self.addCleanup(server.end)
        other = connection.copy()
        other.settings_dict |= {
            **{"NAME": "mysql", "USER": "root", "PASSWORD": ""},
            **{"HOST": "127.0.0.1", "PORT": str(server.port)},
        }
        self.addCleanup(other.close)
        for value in (0, 1, 0):
            with other.cursor() as cursor:
                cursor.execute(f"SET GLOBAL read_only = {value}")
            self.assertEqual(read_only.is_read_only(other), bool(value))
