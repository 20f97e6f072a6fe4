"""The configuration: variables of the environment, safe defaults, refusals."""

from __future__ import annotations

import json
import math
import os
import re
import runpy
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from unittest import mock

from celery import current_app
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory, SimpleTestCase

from wallet.databases import database_from_env
from wallet.environment import Env
from wallet.secret_key import made_key
from wallets.tests import marks

ROOT = Path(__file__).resolve().parents[2]
BASE = Path("/srv/wallet")


def settings_in(**environment: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a process with only this environment."""
    script = (
        "import json; from django.conf import settings as s; "
        "print(json.dumps({k: getattr(s, k) for k in dir(s) if k.isupper()}, "
        "default=str))"
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "wallet.settings",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def loaded(**environment: str) -> dict:
    done = settings_in(**environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Whether or not the driver is installed.
@mock.patch.dict(sys.modules, {"MySQLdb": ModuleType("MySQLdb")})
class DatabaseFromEnvTest(SimpleTestCase):
    def database(self, **environment: str) -> dict:
        with mock.patch.dict(os.environ, environment, clear=True):
            return database_from_env(Env(), BASE)

    def test_is_a_file_beside_the_code_by_default(self):
        found = self.database()
        self.assertEqual(found["ENGINE"], "django.db.backends.sqlite3")
        self.assertEqual(found["NAME"], str(BASE / "db.sqlite3"))
        self.assertEqual(found["OPTIONS"]["transaction_mode"], "IMMEDIATE")

    # The settings need no driver; only tests on MySQL itself do.
    def test_takes_the_parts_that_the_specification_names(self):
        found = self.database(
            DB_ENGINE="django.db.backends.mysql",
            DB_NAME="wallet",
            DB_USER="w",
            DB_PASSWORD="p:@/%?",
            DB_HOST="db",
            DB_PORT="3306",
        )
        names = ("NAME", "USER", "PASSWORD", "HOST", "PORT")
        self.assertEqual(
            [found[name] for name in names], ["wallet", "w", "p:@/%?", "db", "3306"]
        )
        self.assertEqual(found["OPTIONS"]["isolation_level"], "read committed")
        self.assertEqual(found["OPTIONS"]["lock_timeout"], 5)

    def test_takes_a_url_before_the_parts(self):
        found = self.database(
            DATABASE_URL="postgres://w:secret@db:5433/wallet", DB_NAME="other"
        )
        self.assertEqual(found["ENGINE"], "wallets.utils.database.backends.postgresql")
        self.assertEqual((found["NAME"], found["PORT"]), ("wallet", 5433))
        self.assertEqual(found["OPTIONS"]["lock_timeout"], 5)

    def test_takes_an_empty_url_for_none(self):
        self.assertEqual(
            self.database(DATABASE_URL="", DB_NAME="x.db")["NAME"], str(BASE / "x.db")
        )

    def test_keeps_options_of_the_url(self):
        found = self.database(DATABASE_URL="postgres://w@db/wallet?sslmode=require")
        self.assertEqual(found["OPTIONS"]["sslmode"], "require")
        self.assertEqual(found["OPTIONS"]["lock_timeout"], 5)

    def test_has_limits_that_no_url_replaces(self):
        for url in (
            "postgres://w@db/wallet?options=-c%20lock_timeout%3D1h&isolation_level=4",
            "mysql://w@db/wallet?init_command=SET%20a%3D1&isolation_level=serializable",
        ):
            options = self.database(DATABASE_URL=url)["OPTIONS"]
            with self.subTest(url):
                self.assertEqual(options["lock_timeout"], 5)
                self.assertEqual(options["statement_timeout"], 10)
                self.assertIn(options["isolation_level"], (2, "read committed"))

    def test_waits_longer_than_the_time_limits_of_the_server(self):
        options = self.database(DATABASE_URL="mysql://w@db/wallet")["OPTIONS"]
        self.assertGreater(options["read_timeout"], options["statement_timeout"])
        self.assertGreater(options["statement_timeout"], options["lock_timeout"])
        options = self.database(
            DATABASE_URL="mysql://w@db/wallet", DATABASE_STATEMENT_TIMEOUT="0"
        )["OPTIONS"]
        self.assertNotIn("read_timeout", options)

    def test_takes_relative_and_absolute_files(self):
        for url, path in (
            ("sqlite:///data/w.db", BASE / "data/w.db"),
            ("sqlite:////var/w.db", Path("/var/w.db")),
        ):
            self.assertEqual(self.database(DATABASE_URL=url)["NAME"], str(path))


class DefaultsTest(SimpleTestCase):
    """The defaults: those of the specification, and safe."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.found = loaded()

    def test_are_the_specifications(self):
        self.assertEqual(self.found["CELERY_BROKER_URL"], "redis://localhost:6379/0")
        self.assertEqual(
            self.found["CELERY_RESULT_BACKEND"], "redis://localhost:6379/0"
        )
        self.assertEqual(self.found["THIRD_PARTY_BASE_URL"], "http://localhost:8010")

    def test_are_safe(self):
        self.assertFalse(self.found["DEBUG"])
        self.assertEqual(
            set(self.found["ALLOWED_HOSTS"]), {"localhost", "127.0.0.1", "[::1]"}
        )
        # The abilities of a bank must be declared; the default has none.
        self.assertFalse(self.found["THIRD_PARTY_DEDUPES"])
        self.assertFalse(self.found["THIRD_PARTY_LOOKUP"])
        self.assertFalse(self.found["THIRD_PARTY_STATEMENT"])
        self.assertEqual(self.found["TIME_ZONE"], "UTC")

    @marks.slow
    def test_are_kept_where_compose_knows_no_ability_of_a_bank(self):
        abilities = [f"THIRD_PARTY_{a}" for a in ("DEDUPES", "LOOKUP", "STATEMENT")]
        found = loaded(**dict.fromkeys(abilities, "not true"))
        self.assertEqual([found[each] for each in abilities], [False] * 3)


@marks.slow
class UploadTest(SimpleTestCase):
    def test_of_a_long_file_writes_nothing_to_disk(self):
        """Whoever sends it, and before any login."""
        file = SimpleUploadedFile("a", bytes(2 * settings.FILE_UPLOAD_MAX_MEMORY_SIZE))
        request = RequestFactory().post("/console/login", {"a": file, "b": "1"})
        written = [one for one in request.FILES.values() if hasattr(one.file, "name")]
        self.assertEqual(written, [])
        self.assertEqual(request.POST["b"], "1")


class SecretKeyTest(SimpleTestCase):
    """The secret key that is generated if none is set."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "data" / "secret-key"

    def test_is_made_once_for_all_processes_that_start_together(self):
        with ThreadPoolExecutor(8) as pool:
            keys = set(pool.map(lambda _: made_key(self.path), range(8)))
        self.assertEqual(keys, {self.path.read_text()})
        self.assertGreaterEqual(len(keys.pop()), 50)
        self.assertEqual([self.path], list(self.path.parent.iterdir()))

    def test_is_read_by_its_owner_only(self):
        made_key(self.path)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    @marks.slow
    def test_is_kept_beside_the_data(self):
        url = f"sqlite:///{self.path.with_name('db.sqlite3')}"
        found = loaded(DATABASE_URL=url)
        self.assertEqual(found["SECRET_KEY"], self.path.read_text())
        self.assertTrue(found["SECRET_KEY_IS_MADE"])
        other = self.path.with_name("other")
        found = loaded(DATABASE_URL=url, SECRET_KEY_FILE=str(other))
        self.assertEqual(found["SECRET_KEY"], other.read_text())

    def test_is_no_part_of_the_code(self):
        self.assertNotEqual(made_key(self.path), made_key(self.path.with_name("b")))

    def test_is_refused_in_a_sentence_where_it_cannot_be_kept(self):
        for path in (Path("/proc/nowhere/key"), ROOT / "manage.py" / "key"):
            with self.assertRaisesMessage(ImproperlyConfigured, "set SECRET_KEY"):
                made_key(path)

    def test_is_refused_when_the_file_was_damaged(self):
        made_key(self.path)
        self.path.write_text("")
        with self.assertRaisesMessage(ImproperlyConfigured, "holds no key"):
            made_key(self.path)


class StatementTest(SimpleTestCase):
    """The comparison with the bank's list is in Beat's schedule…"""

    @marks.slow
    def test_where_the_bank_is_declared_to_have_one(self):
        schedule = loaded(THIRD_PARTY_STATEMENT="true")["CELERY_BEAT_SCHEDULE"]
        self.assertIn(schedule["reconcile_bank"]["task"], current_app.tasks)
        # Beat loses the time of its last turn, so there must be several a day.
        self.assertLessEqual(settings.STATEMENT_CHECK_INTERVAL, 3600)

    def test_nowhere_else(self):
        self.assertNotIn("reconcile_bank", settings.CELERY_BEAT_SCHEDULE)


@marks.slow
class CurrencyTest(SimpleTestCase):
    """The currency that the bank pays…"""

    def test_is_that_of_new_wallets_unless_it_is_set(self):
        for environment, expected in (
            ({}, "IRR"),
            ({"DEFAULT_CURRENCY": "EUR"}, "EUR"),
            ({"DEFAULT_CURRENCY": "EUR", "THIRD_PARTY_CURRENCY": "IRR"}, "IRR"),
            ({"THIRD_PARTY_CURRENCY": "*"}, "*"),
        ):
            with self.subTest(environment):
                found = loaded(**environment)["THIRD_PARTY_CURRENCY"]
                self.assertEqual(found, expected)


@marks.slow
class RefusalTest(SimpleTestCase):
    def test_of_a_generated_key_for_a_public_host(self):
        done = settings_in(ALLOWED_HOSTS="wallet.example.com")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("set SECRET_KEY", done.stderr)
        self.assertIn("ImproperlyConfigured", done.stderr)

    def test_of_a_generated_key_for_every_host(self):
        self.assertNotEqual(settings_in(ALLOWED_HOSTS="*").returncode, 0)

    def test_is_lifted_by_an_own_key(self):
        found = loaded(ALLOWED_HOSTS="wallet.example.com,localhost", SECRET_KEY="own")
        self.assertEqual(found["ALLOWED_HOSTS"], ["wallet.example.com", "localhost"])

    def test_of_an_invalid_number(self):
        done = settings_in(WITHDRAWAL_LEASE="soon")
        self.assertNotEqual(done.returncode, 0)


TIMES = (
    "DATABASE_STATEMENT_TIMEOUT",
    "SECURE_HSTS_SECONDS",
    "SESSION_COOKIE_AGE",
    "THIRD_PARTY_BOOKING_TIME",
    "THIRD_PARTY_CONNECT_TIMEOUT",
    "THIRD_PARTY_DEADLINE",
    "THIRD_PARTY_DEDUPE_WINDOW",
    "THIRD_PARTY_LOOKUP_WINDOW",
    "WEBHOOK_CONNECT_TIMEOUT",
    "WEBHOOK_DEADLINE",
    "WEBHOOK_KEEP_DAYS",
    "WEBHOOK_LEASE",
    "WEBHOOK_POLL",
    "WEBHOOK_RETRIES",
    "WEBHOOK_SECRET_OVERLAP",
    "WITHDRAWAL_CHECK_BASE",
    "WITHDRAWAL_CHECK_CAP",
    "WITHDRAWAL_DUE_INTERVAL",
    "WITHDRAWAL_HARD_TIME_LIMIT",
    "WITHDRAWAL_LEASE",
    "WITHDRAWAL_MAX_HORIZON_DAYS",
    "WITHDRAWAL_POLL",
    "WITHDRAWAL_QUIET_PERIOD",
    "WITHDRAWAL_RECORDING_TIME",
    "WITHDRAWAL_RESOLVE_INTERVAL",
    "WITHDRAWAL_RETRY_BASE",
    "WITHDRAWAL_RETRY_CAP",
    "WITHDRAWAL_RETRY_INTERVAL",
    "WITHDRAWAL_REVIEW_AFTER",
    "WITHDRAWAL_SOFT_TIME_LIMIT",
)
FRACTIONS = ("WITHDRAWAL_RETRY_JITTER",)
# Whole numbers of days and seconds; `float` reads the others.
WHOLE = ("SECURE_HSTS_SECONDS", "SESSION_COOKIE_AGE", "WITHDRAWAL_MAX_HORIZON_DAYS")

ALLOWED = {
    # The look-up of a bank that forgets nothing.
    ("THIRD_PARTY_LOOKUP_WINDOW", "inf"),
    ("THIRD_PARTY_LOOKUP_WINDOW", "1e999"),
    # A list.
    ("WEBHOOK_RETRIES", "1,5"),
}


@marks.slow
class TimesTest(SimpleTestCase):
    """A time in the environment…"""

    def read(self, name: str, text: str) -> dict[str, object]:
        """Read the settings that read this variable, with this value of it."""
        file = "webhooks.py" if name.startswith("WEBHOOK_") else "settings.py"
        # Only a server has a limit of statements; none is asked here.
        url = "postgres://nowhere/x"
        environment = {"SECRET_KEY": "own", "DATABASE_URL": url, name: text}
        with mock.patch.dict(os.environ, environment, clear=True):
            return runpy.run_path(str(ROOT / "wallet" / file))

    def test_is_refused_by_its_name_if_it_is_no_time(self):
        for name in TIMES + FRACTIONS:
            for text in ("nan", "-nan", "inf", "-inf", "-1", "1e999", "soon", "1,5"):
                if (name, text) in ALLOWED:
                    continue
                with self.subTest(name, text=text):
                    with self.assertRaises(ImproperlyConfigured) as refused:
                        self.read(name, text)
                    said = str(refused.exception)
                    self.assertTrue(said.startswith(f"{name} must be "), said)
                    self.assertNotIn("\n", said)

    def test_is_what_the_operator_wrote(self):
        for name in TIMES + FRACTIONS:
            for text, value in (("0", 0), ("7", 7), ("0.5", 0.5), ("1e3", 1000)):
                if name in WHOLE and not text.isdecimal():
                    continue
                if name in ("DATABASE_STATEMENT_TIMEOUT", "WEBHOOK_RETRIES"):
                    continue  # not a setting, and a list
                with self.subTest(name, text=text):
                    self.assertEqual(self.read(name, text)[name], value)
        self.assertEqual(
            self.read("WEBHOOK_RETRIES", "1,2.5")["WEBHOOK_RETRIES"], [1, 2.5]
        )

    def test_has_no_end_only_where_the_documents_say_so(self):
        name = "THIRD_PARTY_LOOKUP_WINDOW"
        self.assertEqual(self.read(name, "inf")[name], math.inf)

    def test_is_in_this_table(self):
        for module in Path(ROOT, "wallet").glob("*.py"):
            text = module.read_text()
            for name in re.findall(r'env\.float\(\s*"(\w+)"', text):
                self.assertIn(name, TIMES + FRACTIONS, module)


class LimitsTest(SimpleTestCase):
    def test_are_in_the_order_that_money_needs(self):
        """The longest call < soft limit < hard limit < lease < quiet period."""
        limits = [
            settings.THIRD_PARTY_CONNECT_TIMEOUT,
            settings.THIRD_PARTY_DEADLINE,
            settings.WITHDRAWAL_DUE_INTERVAL + settings.THIRD_PARTY_DEADLINE,
            settings.WITHDRAWAL_SOFT_TIME_LIMIT,
            settings.WITHDRAWAL_HARD_TIME_LIMIT,
            settings.WITHDRAWAL_LEASE,
            settings.WITHDRAWAL_QUIET_PERIOD,
        ]
        for low, high in pairwise(limits):
            self.assertLess(low, high)

    def test_leave_a_sender_time_to_send(self):
        self.assertGreater(
            settings.WITHDRAWAL_LEASE - 2 * settings.THIRD_PARTY_DEADLINE, 0
        )

    def test_are_the_limits_of_the_tasks(self):
        self.assertEqual(
            (settings.CELERY_TASK_SOFT_TIME_LIMIT, settings.CELERY_TASK_TIME_LIMIT),
            (settings.WITHDRAWAL_SOFT_TIME_LIMIT, settings.WITHDRAWAL_HARD_TIME_LIMIT),
        )

    def test_of_the_quiet_period_cover_lease_and_longest_call(self):
        self.assertGreaterEqual(
            settings.WITHDRAWAL_QUIET_PERIOD,
            settings.WITHDRAWAL_LEASE
            + settings.THIRD_PARTY_DEADLINE
            + settings.THIRD_PARTY_BOOKING_TIME,
        )


class CommandTest(SimpleTestCase):
    """Statements of servers have a time limit; those of other commands do not."""

    def limit_of(self, *command: str, **env: str) -> str:
        script = (
            "import manage, os, sys; from unittest import mock; "
            f"sys.argv = ['manage.py', *{list(command)!r}]; "
            "run = 'django.core.management.execute_from_command_line'; "
            "mock.patch(run).start(); manage.main(); "
            "print(os.environ.get('DATABASE_STATEMENT_TIMEOUT', 'the default'))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **env},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout.strip() or done.stderr

    @marks.slow
    def test_has_no_limit_on_statements_unless_it_serves(self):
        for command in ("migrate", "verify_ledger", "reconcile_bank"):
            self.assertEqual(self.limit_of(command), "0", command)
        for command in ("runserver", "run_sweeps", "run_events", "run_webhooks"):
            self.assertEqual(self.limit_of(command), "the default", command)

    @marks.slow
    def test_has_none_whatever_the_environment_of_a_container_says(self):
        """It is one for all processes, and an interrupted migration is half done."""
        limit = {"DATABASE_STATEMENT_TIMEOUT": "10"}
        for command in ("migrate", "verify_ledger"):
            self.assertEqual(self.limit_of(command, **limit), "0", command)
        self.assertEqual(self.limit_of("run_sweeps", **limit), "10")
