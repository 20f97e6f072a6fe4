"""What `make run` says about its pages."""

from __future__ import annotations

import unittest

import run
from ops import services

API = "http://127.0.0.1:8000"


class PagesTest(unittest.TestCase):
    """The lines about the pages…"""

    def lines(self, **env: str) -> dict[str, str]:
        """Return what is said of each page, by its name."""
        ports = services.Ports(services.free_port(), services.free_port())
        said = run.pages(services.plan(env, ports), API, "log in")
        return {line.split()[0]: line for line in said.splitlines()}

    def test_say_what_the_metrics_need(self) -> None:
        for env, end in (
            ({}, f"{API}/metrics"),
            ({"API_AUTH": "keys"}, "/metrics - with a key of the scope metrics:read"),
            ({"METRICS_TOKEN": "x"}, "/metrics - with METRICS_TOKEN"),
            ({"API_AUTH": "keys", "METRICS_TOKEN": "x"}, "- with METRICS_TOKEN"),
        ):
            with self.subTest(**env):
                self.assertTrue(self.lines(**env)["Metrics"].endswith(end))

    def test_leave_out_what_is_switched_off(self) -> None:
        found = self.lines(METRICS_ENABLED="false", CONSOLE_ENABLED="false")
        self.assertEqual(set(found), {"Documentation"})
