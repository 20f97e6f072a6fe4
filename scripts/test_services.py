"""The plan of `make run`: the user's variables take precedence."""

from __future__ import annotations

import unittest

from ops import services


class PlanTest(unittest.TestCase):
    def plan(self, **env: str) -> services.Plan:
        ports = services.Ports(services.free_port(), services.free_port())
        return services.plan(env, ports)

    def names(self, plan: services.Plan) -> dict[str, str | None]:
        return {s.name: s.env.get("SERVICE_NAME") for s in plan.first + plan.then}

    def test_names_each_service_in_its_log_lines(self) -> None:
        self.assertEqual(
            self.names(self.plan()),
            {
                "bank": None,
                "api": "api",
                "worker": "worker",
                "beat": "beat",
                "events": "events",
                "webhooks": "webhooks",
            },
        )
        without = self.names(self.plan(EVENTS_ENABLED="false"))
        self.assertLessEqual(set(without), {"bank", "api", "worker", "beat"})
        own = self.names(self.plan(SERVICE_NAME="mine"))
        self.assertEqual(set(own.values()), {"mine"})

    def test_opens_metrics_on_loopback_only(self) -> None:
        for hosts, expected in (
            ("", "true"),
            ("localhost, 127.0.0.1", "true"),
            ("localhost,wallet.example.com", "false"),
            ("*", "false"),
        ):
            found = self.plan(ALLOWED_HOSTS=hosts).env.get("METRICS_ENABLED")
            self.assertEqual(found, expected, hosts)
        off = self.plan(METRICS_ENABLED="false")
        self.assertEqual(off.env["METRICS_ENABLED"], "false")

    def test_lets_webhooks_be_sent_here_on_loopback_only(self) -> None:
        name = "WEBHOOK_ALLOWED_NETWORKS"
        self.assertEqual(self.plan().env[name], "127.0.0.0/8")
        self.assertEqual(self.plan(**{name: "10.0.0.0/8"}).env[name], "10.0.0.0/8")
        self.assertNotIn(name, self.plan(ALLOWED_HOSTS="wallet.example.com").env)

    def test_knows_which_pages_are_served(self) -> None:
        plan = self.plan(CONSOLE_ENABLED="False", API_DOCS_ENABLED="yes")
        found = [plan.has(f"{page}_ENABLED") for page in ("CONSOLE", "API_DOCS")]
        self.assertEqual(found, [False, True])
