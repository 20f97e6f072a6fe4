"""The reader of the environment: strict switches, values taken literally."""

from __future__ import annotations

import os
import re
import runpy
import sys
from pathlib import Path
from unittest import mock

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from wallet import environment, serve
from wallet.environment import Env
from wallets.tests import marks
from wallets.tests.test_settings import ROOT, loaded, settings_in

ON = ("true", "on", "ok", "y", "yes", "1", "TRUE", "Yes", " true ")
OFF = ("false", "off", "no", "n", "0", "False", "NO", " 0", "not true", "")
NEITHER = ("ture", "enabled", "t", "f", "ja", "true;", "2", "-1", "01", "$x", "tru e")


def of_environment(**variables: str):
    return mock.patch.dict(
        os.environ, {"PATH": os.environ["PATH"], **variables}, clear=True
    )


def switches() -> list[tuple[Path, str]]:
    """Return each switch of the settings, with the module that reads it."""
    return [
        (module, name)
        for module in sorted(Path(ROOT, "wallet").glob("*.py"))
        for name in re.findall(r'env\.bool\(\s*"(\w+)"', module.read_text())
        if module.name not in ("environment.py", "serve.py")
    ]


class SwitchTest(SimpleTestCase):
    """A switch in the environment…"""

    def test_is_what_the_operator_wrote(self) -> None:
        for value, texts in ((True, ON), (False, OFF)):
            for text in texts:
                with self.subTest(text), of_environment(X=text):
                    self.assertIs(Env().bool("X", default=not value), value)

    def test_is_its_default_if_it_is_not_set(self) -> None:
        for value in (True, False):
            with of_environment():
                self.assertIs(Env().bool("X", default=value), value)

    def test_is_refused_by_its_name_if_it_is_neither(self) -> None:
        for text in NEITHER:
            with (
                self.subTest(text),
                of_environment(X=text),
                self.assertRaises(ImproperlyConfigured) as refused,
            ):
                Env().bool("X", default=False)
            self.assertEqual(str(refused.exception), "X must be true or false.")

    @marks.slow
    def test_is_refused_whichever_it_is(self) -> None:
        found = switches()
        self.assertGreater(len(found), 15)
        for module, name in found:
            variables = {"SECRET_KEY": "own", name: "ture"}
            with (
                self.subTest(name),
                of_environment(**variables),
                self.assertRaisesMessage(
                    ImproperlyConfigured, f"{name} must be true or false."
                ),
            ):
                runpy.run_path(str(module))

    @marks.slow
    def test_keeps_the_service_from_starting(self) -> None:
        """After a restore the money that was paid since would be paid again."""
        done = settings_in(WITHDRAWALS_PAUSED="ture")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("WITHDRAWALS_PAUSED must be true or false.", done.stderr)

    def test_is_read_alike_by_the_script_that_runs_everything(self) -> None:
        with mock.patch.object(sys, "path", [str(ROOT / "scripts"), *sys.path]):
            from ops import services
        self.assertEqual(services.TRUE, environment.TRUE)


class MetricsTest(SimpleTestCase):
    """The shared counters of the processes…"""

    def has_folder(self, **variables: str) -> bool:
        with of_environment(**variables):
            folder = serve._folder_for_metrics()
        if folder:
            Path(folder).rmdir()
        return bool(folder)

    def test_have_a_folder_if_the_settings_say_that_they_are_counted(self) -> None:
        for value, texts in ((True, ON), (False, OFF)):
            for text in texts:
                with self.subTest(text):
                    self.assertIs(self.has_folder(METRICS_ENABLED=text), value)
        self.assertFalse(self.has_folder())

    def test_have_a_folder_under_gunicorn_too(self) -> None:
        try:
            import gunicorn.glogging  # noqa: F401
        except ImportError:
            self.skipTest("gunicorn is not installed")
        for text in (*ON, *OFF):
            with self.subTest(text), of_environment(METRICS_ENABLED=text):
                config = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
                config["on_starting"](None)
                has = "PROMETHEUS_MULTIPROC_DIR" in os.environ
                config["on_exit"](None)
                self.assertIs(has, text in ON)

    def test_end_gunicorn_in_one_line_if_they_are_neither(self) -> None:
        for name in ("METRICS_ENABLED", "WEB_CONCURRENCY", "WEB_THREADS", "LOG_LEVEL"):
            with self.subTest(name), of_environment(**{name: "ture"}):
                with self.assertRaises(SystemExit) as ended:
                    runpy.run_path(str(ROOT / "gunicorn.conf.py"))
                said = str(ended.exception)
                self.assertTrue(said.startswith(f"{name} must be "), said)
                self.assertNotIn("ture", said)


@marks.slow
class DollarTest(SimpleTestCase):
    """A value that begins with a dollar sign…"""

    def test_is_taken_as_it_is(self) -> None:
        values = {
            "SECRET_KEY": "$abc",
            "SECRET_KEY_FALLBACKS": "$old,$older",
            "METRICS_TOKEN": "$x1",
            "DB_ENGINE": "django.db.backends.postgresql",
            "DB_PASSWORD": "$ecret",
            "abc": "of another variable",
        }
        found = loaded(**values)
        self.assertEqual(found["SECRET_KEY"], "$abc")
        self.assertFalse(found["SECRET_KEY_IS_MADE"])
        self.assertEqual(found["SECRET_KEY_FALLBACKS"], ["$old", "$older"])
        self.assertEqual(found["METRICS_TOKEN"], "$x1")
        self.assertEqual(found["DATABASES"]["default"]["PASSWORD"], "$ecret")

    def test_is_no_choice_no_switch_and_no_number(self) -> None:
        for name in (
            "API_AUTH",
            "WITHDRAWALS_PAUSED",
            "WITHDRAWAL_LEASE",
            "LOG_FORMAT",
        ):
            with self.subTest(name):
                done = settings_in(**{name: "$MODE", "MODE": "1"})
                self.assertNotEqual(done.returncode, 0)
                said = done.stderr.splitlines()[-1]
                self.assertIn(f"{name} must be ", said)
                self.assertNotIn("MODE", said)


@marks.slow
class ChoiceTest(SimpleTestCase):
    """A word of which there are few…"""

    def test_is_refused_if_it_is_none_of_them(self) -> None:
        for name, words in (
            ("API_AUTH", ("key", "KEYS", "")),
            ("LOG_FORMAT", ("jsn", "text", "")),
            ("LOG_LEVEL", ("info", "10", "", "FATAL", "NOTSET")),
        ):
            for word in words:
                with self.subTest(name, word=word):
                    done = settings_in(**{name: word})
                    self.assertNotEqual(done.returncode, 0)
                    self.assertIn(f"{name} must be ", done.stderr)
