"""Arguments of commands that cannot be read: one sentence, with what would be right."""

from __future__ import annotations

import io
import os
import subprocess
import sys

from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase

from wallets.tests import marks


class ArgumentTest(SimpleTestCase):
    def told(self, *words: str) -> str:
        with self.assertRaises(CommandError) as caught:
            call_command(*words, stdout=io.StringIO(), stderr=io.StringIO())
        text = str(caught.exception)
        self.assertNotIn("\n", text)
        return text

    def test_that_is_no_day_is_told_as_it_was_sent(self) -> None:
        for sent in ("yesterday", "2020-13-01", "", "2026-02-30", "12:00", "\udcff"):
            told = self.told("reconcile_bank", "--from", sent)
            self.assertIn(f"{sent!r} is neither a date such as 2030-01-31 nor ", told)

    def test_that_is_no_number_of_seconds_is_told(self) -> None:
        for command, name in (
            ("wait_for_db", "--timeout"),
            ("run_sweeps", "--seconds"),
        ):
            for sent in ("nan", "-1", "-inf", "", "soon", "1e", "5s"):
                with self.subTest(command, sent=sent):
                    told = self.told(command, f"{name}={sent}")
                    self.assertIn(f"{sent!r} is no number of seconds", told)


@marks.slow
class CommandOfWhatIsOffTest(SimpleTestCase):
    """A command of an application that is switched off…"""

    def told(self, *words: str, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=settings.BASE_DIR,
            env=os.environ | {"API_AUTH": "none"} | variables,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        (line,) = done.stderr.splitlines()
        return line

    def test_says_how_to_switch_it_on(self) -> None:
        for words, variables, told in (
            (["api_key", "list"], {}, "No keys are asked for: API_AUTH is none."),
            (["help", "api_key"], {}, "No keys are asked for: API_AUTH is none."),
            (["listen"], {"EVENTS_ENABLED": "false"}, "EVENTS_ENABLED is false."),
            (["demo_login"], {"CONSOLE_ENABLED": "0"}, "CONSOLE_ENABLED is false."),
        ):
            with self.subTest(words):
                self.assertIn(told, self.told(*words, **variables))

    def test_that_does_not_exist_is_not_taken_for_one(self) -> None:
        for name in ("api_keys", "../commands/api_key", "__init__"):
            with self.subTest(name):
                done = subprocess.run(
                    [sys.executable, "manage.py", name],
                    cwd=settings.BASE_DIR,
                    env=os.environ | {"API_AUTH": "none"},
                    capture_output=True,
                    text=True,
                    timeout=100,
                    check=False,
                )
                self.assertEqual(done.returncode, 1)
                self.assertIn("Unknown command", done.stderr)
