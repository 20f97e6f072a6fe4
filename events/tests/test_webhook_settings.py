"""Settings of webhooks: read strictly, safe by default, checked together."""

from __future__ import annotations

import os
import subprocess
import sys

from django.conf import settings
from django.test import SimpleTestCase, override_settings

from events import checks
from events.utils.addresses import Policy
from wallet import webhooks


class LimitsTest(SimpleTestCase):
    def found(self):
        return [
            *checks.limits_of_webhooks_are_in_order(),
            *checks.webhooks_can_be_sent(),
            *checks.waits_of_webhooks_end(),
        ]

    def test_are_in_order_by_default(self):
        self.assertEqual(self.found(), [])

    def test_are_refused_in_another_order(self):
        for changes in (
            {"WEBHOOK_LEASE": 30.0},
            {"WEBHOOK_DEADLINE": 3.0},
            {"WEBHOOK_CONNECT_TIMEOUT": 15.0},
            {"WEBHOOK_CONCURRENCY": 0},
            {"WEBHOOK_ENDPOINT_CONCURRENCY": 0},
            {"WEBHOOK_WINDOW": 0},
            {"WEBHOOK_POLL": 0.0},
            {"WEBHOOK_LEASE": float("inf")},
            {"WEBHOOK_SECRET_OVERLAP": float("inf")},
            {"WEBHOOK_KEEP_DAYS": float("nan")},
            {"WEBHOOK_RETRIES": [5.0, float("inf")]},
            {"WEBHOOK_RETRIES": [-1.0]},
        ):
            with self.subTest(changes), override_settings(**changes):
                self.assertEqual(len(self.found()), 1)


class DefaultsTest(SimpleTestCase):
    def test_allow_public_https_only(self):
        self.assertEqual(Policy.of(webhooks), Policy())


class ValueTest(SimpleTestCase):
    def load(self, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SECRET_KEY": "x" * 60, **variables}
        return subprocess.run(
            [sys.executable, "manage.py", "check"],
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
        )

    def test_that_cannot_be_read_is_one_line(self):
        for name, value, words in (
            ("WEBHOOK_ALLOWED_NETWORKS", "10.0.0.1/8", "networks with commas"),
            ("WEBHOOK_ALLOWED_PORTS", "443,70000", "ports with commas"),
            ("WEBHOOK_RETRIES", "5,soon", "numbers with commas"),
        ):
            with self.subTest(name):
                done = self.load(**{name: value})
                said = done.stderr.strip()
                self.assertNotEqual(done.returncode, 0)
                self.assertTrue(said.startswith(f"{name} must be {words}"), said)
                self.assertNotIn(value, said)
