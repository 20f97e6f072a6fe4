"""`check --deploy`: one line for each problem of a deployment, and no stack."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest import mock

from django.conf import settings
from django.core.checks import run_checks
from django.test import SimpleTestCase, override_settings

from drills import servers
from wallets import deployment
from wallets.tests import marks

DECLARED = {name: "false" for name in deployment._ABILITIES}
UNDECLARED = dict.fromkeys(DECLARED, "")


def ids(messages):
    return [message.id for message in messages]


class BankTest(SimpleTestCase):
    def test_is_asked_over_https_unless_it_is_on_this_machine(self):
        for url, found in (
            ("https://bank.example.com", []),
            ("http://127.0.0.1:8010", []),
            ("http://localhost:8010/", []),
            ("http://[::1]:8010", []),
            ("http://bank.example.com", ["wallets.E020"]),
            ("http://third-party:8010", ["wallets.E020"]),
            ("http://127.example.com", ["wallets.E020"]),
            ("HTTP://10.0.0.1", ["wallets.E020"]),
        ):
            with self.subTest(url), override_settings(THIRD_PARTY_BASE_URL=url):
                self.assertEqual(ids(deployment.bank_is_asked_in_secret()), found)

    def test_is_told_by_what_its_address_is(self):
        for url, words in (
            ("http://bank.example.com", "is http:// and not on this machine"),
            ("ftp://bank.example.com", "is ftp://"),
            ("ftp://127.0.0.1", "is ftp://"),
            ("bank.example.com", "has no scheme or no host"),
            ("user:hush@bank.example.com", "has no scheme or no host"),
            ("https://", "has no scheme or no host"),
            ("", "has no scheme or no host"),
        ):
            with self.subTest(url), override_settings(THIRD_PARTY_BASE_URL=url):
                (said,) = deployment.bank_is_asked_in_secret()
                self.assertEqual(said.id, "wallets.E020")
                self.assertIn(words, said.msg)
                self.assertNotIn("hush", said.msg)

    def test_has_its_abilities_declared(self):
        with mock.patch.dict(os.environ, DECLARED):
            self.assertEqual(deployment.abilities_are_declared(), [])
            del os.environ["THIRD_PARTY_LOOKUP"]
            (said,) = deployment.abilities_are_declared()
        self.assertEqual(said.id, "wallets.W024")
        self.assertIn("Not declared: THIRD_PARTY_LOOKUP.", said.msg)


class ServiceTest(SimpleTestCase):
    def test_has_metrics_with_a_token(self):
        for enabled, token, found in (
            (False, "", []),
            (True, "secret", []),
            (True, "", ["wallets.W021"]),
        ):
            changed = {"METRICS_ENABLED": enabled, "METRICS_TOKEN": token}
            with self.subTest(**changed), override_settings(**changed):
                self.assertEqual(ids(deployment.metrics_ask_for_a_token()), found)

    def test_has_metrics_with_a_key_where_callers_have_keys(self):
        asks = {"METRICS_ENABLED": True, "METRICS_TOKEN": "", "API_AUTHENTICATION": "x"}
        with override_settings(**asks):
            self.assertEqual(deployment.metrics_ask_for_a_token(), [])

    def test_asks_its_callers_who_they_are(self):
        for function, found in (("", ["wallets.W025"]), ("a.function", [])):
            with override_settings(API_AUTHENTICATION=function):
                said = ids(deployment.callers_are_asked_who_they_are())
                self.assertEqual(said, found)

    def test_has_a_database_server(self):
        for engine, found in (
            ("django.db.backends.sqlite3", ["wallets.W022"]),
            ("wallets.utils.database.backends.postgresql", []),
        ):
            with mock.patch.dict(settings.DATABASES["default"], ENGINE=engine):
                self.assertEqual(ids(deployment.database_is_a_server()), found)

    def test_has_a_broker(self):
        with mock.patch.dict(os.environ, {"CELERY_BROKER_URL": "redis://broker/0"}):
            self.assertEqual(deployment.broker_is_named(), [])
            del os.environ["CELERY_BROKER_URL"]
            self.assertEqual(ids(deployment.broker_is_named()), ["wallets.W023"])

    @marks.slow
    def test_is_asked_about_all_of_it_when_it_is_deployed(self):
        sqlite = {"ENGINE": "django.db.backends.sqlite3"}
        with (
            override_settings(
                THIRD_PARTY_BASE_URL="http://bank.example.com",
                METRICS_ENABLED=True,
                METRICS_TOKEN="",
                API_AUTHENTICATION="",
            ),
            mock.patch.dict(settings.DATABASES["default"], sqlite),
            mock.patch.dict(os.environ, {"CELERY_BROKER_URL": "", **UNDECLARED}),
        ):
            for number in ("E020", "W021", "W022", "W023", "W024", "W025"):
                name = f"wallets.{number}"
                with self.subTest(name):
                    asked = ids(run_checks(include_deployment_checks=True))
                    self.assertIn(name, asked)
                    self.assertNotIn(name, ids(run_checks()))

    def test_says_each_thing_in_one_line(self):
        with mock.patch.dict(os.environ, {"CELERY_BROKER_URL": ""}):
            for message in run_checks(include_deployment_checks=True):
                if message.id.startswith("wallets."):
                    self.assertNotIn("\n", message.msg)


DURABLE = {
    "postgresql": {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "synchronous_standby_names": "",
    },
    "mysql": {
        "innodb_flush_log_at_trx_commit": "1",
        "log_bin": "OFF",
        "sync_binlog": "0",
    },
}


class DurabilityTest(SimpleTestCase):
    """A server that may lose commits…"""

    def test_is_refused_with_each_setting_that_loses_them(self):
        for vendor, changed, found in (
            ("postgresql", {}, []),
            ("postgresql", {"fsync": "off"}, ["wallets.E026"]),
            ("postgresql", {"full_page_writes": "off"}, ["wallets.E026"]),
            ("postgresql", {"synchronous_commit": "local"}, []),
            ("mysql", {}, []),
            ("mysql", {"innodb_flush_log_at_trx_commit": "0"}, ["wallets.E026"]),
            ("mysql", {"innodb_flush_log_at_trx_commit": "2"}, ["wallets.E026"]),
            ("mysql", {"innodb_flush_log_at_trx_commit": "3"}, []),
            ("mysql", {"log_bin": "ON"}, ["wallets.E026"]),
            ("mysql", {"log_bin": "ON", "sync_binlog": "1000"}, ["wallets.E026"]),
            ("mysql", {"log_bin": "ON", "sync_binlog": "1"}, []),
        ):
            with self.subTest(vendor, **changed):
                known = DURABLE[vendor] | changed
                messages = deployment._lost_commits("default", known)
                self.assertEqual(ids(messages), found)
                for message in messages:
                    self.assertIn("may lose the last commits", message.msg)

    def test_is_warned_of_when_commits_do_not_wait_for_its_standby(self):
        standby = DURABLE["postgresql"] | {"synchronous_standby_names": "*"}
        for value, found in (("local", ["wallets.W027"]), ("on", []), ("off", [])):
            known = standby | {"synchronous_commit": value}
            messages = deployment._lost_commits("default", known)
            self.assertEqual(ids(messages), found)


@marks.slow
class RealServerTest(SimpleTestCase):
    """A real server that was started for tests, not for crashes of the machine…"""

    def said_of(self, kind):
        if reason := servers.missing(kind):
            self.skipTest(reason)
        server = servers.start(kind)
        self.addCleanup(server.end)
        name = "postgres" if kind == "postgresql" else "mysql"
        environment = {"PATH": os.environ["PATH"], "DATABASE_URL": server.url(name)}
        done = subprocess.run(
            [sys.executable, "manage.py", "check", "--deploy", "--database", "default"],
            cwd=settings.BASE_DIR,
            env=environment | {"SSL_CERT_FILE": os.devnull},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def test_is_refused_before_a_deployment(self):
        for kind, setting in (
            ("postgresql", "fsync=off"),
            ("mariadb", "innodb_flush_log_at_trx_commit=2"),
        ):
            with self.subTest(kind):
                said = self.said_of(kind)
                self.assertIn("(wallets.E026) The server of the database", said)
                self.assertIn(f"has {setting}: a crash may lose", said)
                self.assertEqual(said.count("wallets.E026"), 1)


@marks.slow
class TroubleTest(SimpleTestCase):
    """A problem that prevents the checks is also reported in one line."""

    NO_DRIVER = (
        "import sys; sys.modules.update(dict.fromkeys(['psycopg', 'psycopg2',"
        "'pymysql', 'MySQLdb'])); import manage; sys.argv[0] = 'manage.py'; manage.main()"
    )

    def check(self, *python: str, **env: str) -> str:
        check = ("check", "--deploy", "--database", "default")
        return self.run_refused(*python, *check, **env)

    def run_refused(self, *python: str, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, *python],
            cwd=settings.BASE_DIR,
            env={"PATH": os.environ["PATH"], "HOME": "/tmp", **env},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertNotEqual(done.returncode, 0)
        said = done.stdout + done.stderr
        self.assertNotIn("Traceback", said)
        return said

    def test_of_a_database_that_is_away_keeps_nothing_else_from_being_said(self):
        for url in ("postgres://x:hush@127.0.0.1:9/x", "mysql://x:hush@127.0.0.1:9/x"):
            said = self.check("manage.py", DATABASE_URL=url)
            self.assertIn("The database 'default' was not checked.", said)
            self.assertIn("wallets.W023", said)
            self.assertNotIn("hush", said)

    def test_of_a_driver_that_is_not_installed(self):
        for url, driver in (
            ("postgres://127.0.0.1/x", "psycopg"),
            ("mysql:///x", "mysql"),
        ):
            said = self.check("-c", self.NO_DRIVER, DATABASE_URL=url)
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertIn(driver, said)

    def test_of_a_database_that_is_none(self):
        for env in (
            {"DATABASE_URL": "x:hush"},
            {"DATABASE_URL": "oracle://x:hush@127.0.0.1/x"},
            {"DB_ENGINE": "nonsense"},
        ):
            said = self.check("manage.py", **env)
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertIn("engine", said)
            self.assertNotIn("hush", said)

    UNREADABLE = (
        ("WITHDRAWAL_LEASE", "abc-hush"),
        ("PROXY_COUNT", "1.5-hush"),
        ("THIRD_PARTY_BASE_URL", "http://["),
        ("THIRD_PARTY_BASE_URL", "http://bank:hush"),
        ("CELERY_BROKER_URL", "redis://[hush"),
        ("CELERY_RESULT_BACKEND", "redis://:hush/ly@127.0.0.1/0"),
        ("LOG_LEVEL", "HUSH-hush"),
        ("DATABASE_URL", "postgres://u:p@127.0.0.1:hush/x"),
        # The part before the slash would be taken for the port.
        ("DATABASE_URL", "postgres://u:hush/ly@127.0.0.1/x"),
    )

    def test_of_a_value_that_cannot_be_read_names_it_and_quotes_nothing(self):
        for name, value in self.UNREADABLE:
            with self.subTest(name, value=value):
                said = self.check("manage.py", **{name: value})
                self.assertEqual(len(said.splitlines()), 1, said)
                self.assertIn(name, said)
                self.assertNotIn("hush", said)

    def test_ends_worker_beat_and_server_as_well(self):
        for python in (
            ("-m", "celery", "-A", "wallet", "worker"),
            ("-m", "celery", "-A", "wallet", "beat"),
            ("-m", "wallet.serve", "--port", "0"),
        ):
            with self.subTest(python):
                value = "postgres://u:hush/ly@127.0.0.1/x"
                said = self.run_refused(*python, DATABASE_URL=value)
                self.assertEqual(len(said.splitlines()), 1, said)
                self.assertIn("DATABASE_URL", said)
                self.assertNotIn("hush", said)

    def test_of_a_number_that_is_none_ends_the_server(self):
        for name in ("WEB_CONCURRENCY", "WEB_KEEPALIVE", "WEB_THREADS"):
            for value in ("two", "0", "-1", "1.5"):
                with self.subTest(name, value=value):
                    said = self.run_refused("-m", "wallet.serve", **{name: value})
                    self.assertEqual(said, f"{name} must be a whole number above 0.\n")

    def test_of_a_connection_that_the_server_cannot_keep_so_long(self):
        said = self.run_refused("-m", "wallet.serve", WEB_KEEPALIVE="61")
        self.assertEqual(said, "WEB_KEEPALIVE must be at most 60.\n")

    def test_of_a_key_that_is_missing(self):
        said = self.check("manage.py", ALLOWED_HOSTS="wallet.example.com")
        self.assertEqual(len(said.splitlines()), 1, said)
        self.assertIn("set SECRET_KEY", said)
