"""Health checks: /healthz uses no database, /readyz names what does not work."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from celery import current_app
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from wallets.models.heartbeat import Heartbeat
from wallets.services.operations import pause, readiness
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.api import Api, database_out_of_reach
from wallets.tests.base import CommittingTestCase, WalletTestCase, up_for
from wallets.tests.builders import due_withdrawal
from wallets.tests.fakes import Does
from wallets.utils.extensions import Health, health_checks

SWEEPS = ("pending", "retry", "resolve")


class AliveTest(Api, WalletTestCase):
    def test_answers_without_touching_the_database(self) -> None:
        with self.assertNumQueries(0):
            response = self.get("/healthz")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json(), {"status": "ok"})


class ReadyTest(Api, WalletTestCase):
    def beat(self, *names: str, seconds_ago: float = 0) -> None:
        for name in names:
            ran_at = self.now - timedelta(seconds=seconds_ago)
            Heartbeat.objects.create(name=name, ran_at=ran_at, by="test")

    def test_is_ok_when_everything_answers(self) -> None:
        self.beat(*SWEEPS)
        response = self.get("/readyz")
        self.assertEqual(response.status_code, 200)
        answer = response.json()
        self.assertEqual(answer["status"], "ok")
        self.assertEqual(
            answer["checks"],
            dict.fromkeys(
                (
                    *("database", "migrations", "sweeps"),
                    *("payouts", "bank", "clock", "broker"),
                    *health_checks(),
                ),
                "ok",
            ),
        )
        self.assertEqual(set(answer["sweep_age_seconds"]), set(SWEEPS))

    def test_asks_the_applications_that_the_settings_name(self) -> None:
        self.beat(*SWEEPS)
        trouble = {"mill": lambda now: Health("stands still")}
        with mock.patch.object(readiness, "health_checks", return_value=trouble):
            answer = self.get("/readyz").json()
        self.assertEqual(answer["checks"]["mill"], "stands still")
        self.assertEqual(answer["status"], "degraded")
        with override_settings(HEALTH_EXTENSIONS=[]):
            self.assertEqual(health_checks(), {})

    def test_is_degraded_and_in_service_without_the_broker(self) -> None:
        self.beat(*SWEEPS)
        usual = current_app.conf.broker_url
        current_app.conf.broker_url = "redis://127.0.0.1:1"
        self.addCleanup(setattr, current_app.conf, "broker_url", usual)
        response = self.get("/readyz")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json()["status"], "degraded")
        self.assertEqual(response.json()["checks"]["broker"], "not answering")

    def test_waits_for_the_first_run_of_each_sweep(self) -> None:
        """Also after a night without the service: old heartbeats are no silence."""
        self.beat("pending", seconds_ago=36_000)
        for seconds, silent in ((1, []), (91, ["pending", "resolve"]), (241, SWEEPS)):
            with self.subTest(up_for=seconds), up_for(seconds):
                answer = self.get("/readyz").json()
                expected = f"silent: {', '.join(silent)}" if silent else "ok"
                self.assertEqual(answer["checks"]["sweeps"], expected)
                self.assertEqual(answer["status"], "degraded" if silent else "ok")

    @up_for(3600)
    def test_is_degraded_when_a_sweep_is_silent(self) -> None:
        self.beat("pending", seconds_ago=600)
        self.beat("retry")
        answer = self.get("/readyz").json()
        self.assertEqual(answer["status"], "degraded")
        self.assertEqual(answer["checks"]["sweeps"], "silent: pending, resolve")
        self.assertGreaterEqual(answer["sweep_age_seconds"]["pending"], 600)
        self.assertIsNone(answer["sweep_age_seconds"]["resolve"])

    def checks(self) -> dict[str, str]:
        answer = self.get("/readyz").json()
        self.assertEqual(answer["status"], "degraded")
        return answer["checks"]

    def test_is_degraded_while_payouts_are_paused(self) -> None:
        self.beat(*SWEEPS)
        pause.pause(reason="Mrs Smith, +44 20 7946 0000", actor="operator oscar")
        # Everybody can read this answer, so it has no name and no reason.
        self.assertEqual(self.checks()["payouts"], "paused by an operator")
        with override_settings(WITHDRAWALS_PAUSED=True):
            self.assertEqual(
                self.checks()["payouts"],
                "paused by WITHDRAWALS_PAUSED, paused by an operator",
            )
        pause.resume(actor="operator oscar")
        self.assertEqual(self.get("/readyz").json()["status"], "ok")

    def test_is_degraded_while_payouts_are_late(self) -> None:
        self.beat(*SWEEPS)
        for seconds, late in ((10, False), (30, True), (90, True)):
            due = self.now - timedelta(seconds=seconds)
            withdrawal = due_withdrawal(self.alice, 1, due=due)
            said = self.get("/readyz").json()["checks"]["payouts"]
            self.assertEqual("late" in said, late, said)
            WithdrawalService.cancel(withdrawal.pk)
        self.assertRegex(said, r"^late: the oldest is due for \d+ s$")

    def test_is_degraded_while_retries_are_late(self) -> None:
        """Not while they wait for their own, slower tick."""
        self.beat(*SWEEPS)
        for seconds, late in ((90, False), (18_000, True)):
            self.refused_withdrawal(1, at=self.after(-seconds))
            said = self.get("/readyz").json()["checks"]["payouts"]
            self.assertEqual("late" in said, late, said)
        self.assertRegex(said, r"^retries late: the oldest is due for 179\d\d s$")

    def test_is_degraded_while_the_bank_answers_nobody_in_a_quiet_hour(self) -> None:
        self.beat(*SWEEPS)
        self.deposit(1000)
        for ill, does in ((False, Does.LOSE), (True, Does.UNREACHABLE)):
            self.bank.script.append(does)
            WithdrawalService.execute(self.due_withdrawal(1).pk, bank=self.bank)
            said = self.get("/readyz").json()["checks"]["bank"]
            self.assertEqual(said != "ok", ill, said)
        self.assertEqual(said, "no answer to 2 of the last 2 calls")

    def test_is_degraded_while_the_bank_loses_answers(self) -> None:
        self.beat(*SWEEPS)
        self.deposit(1000)
        for does in 5 * [Does.LOSE] + 2 * [Does.UNREACHABLE] + 3 * [Does.PAY]:
            self.bank.script.append(does)
            WithdrawalService.execute(self.due_withdrawal(1).pk, bank=self.bank)
        self.assertEqual(self.checks()["bank"], "no answer to 7 of the last 10 calls")

    @marks.slow
    def test_is_ok_when_the_bank_loses_few_answers(self) -> None:
        self.beat(*SWEEPS)
        self.deposit(1000)
        for does in 2 * [Does.LOSE] + 20 * [Does.REFUSE]:
            self.bank.script.append(does)
            WithdrawalService.execute(self.due_withdrawal(1).pk, bank=self.bank)
        self.assertEqual(self.get("/readyz").json()["checks"]["bank"], "ok")

    def test_is_not_ready_with_a_migration_missing(self) -> None:
        (newest,) = MigrationLoader(connection).graph.leaf_nodes("wallets")
        MigrationRecorder(connection).record_unapplied(*newest)
        response = self.get("/readyz")
        problem = self.assert_problem(response, 503, "service_unavailable")
        self.assertEqual(problem["checks"]["migrations"], "1 not applied")
        self.assertEqual(problem["detail"], "Not ready: migrations.")


class DatabaseReadyTest(Api, CommittingTestCase):
    def test_is_not_ready_without_the_database(self) -> None:
        with database_out_of_reach():
            response = self.get("/readyz")
            alive = self.get("/healthz")
        problem = self.assert_problem(response, 503, "service_unavailable")
        self.assertEqual(
            problem["checks"]["database"], "not answering (OperationalError)"
        )
        self.assertEqual(response.headers["Retry-After"], "5")
        self.assertEqual(alive.status_code, 200)
