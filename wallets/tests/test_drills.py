"""The parts of the drills: database servers, schedules of faults, the judge."""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.apps import apps
from django.test import SimpleTestCase

from drills import bank, books, clock_shim, judge, sabotage, servers
from drills.clock_shim import SteppedClock
from drills.process import free_port
from drills.scenario import DEPOSIT, Plan
from drills.servers import OwnServer
from drills.trouble import Trouble
from drills.trouble_clock import STEPS
from drills.trouble_operator import LATE_CLAIMS
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.operations import pause
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import CommittingTestCase
from wallets.tests.fakes import Does
from wallets.tests.marks import slow

HOUR = 3600.0
STALL = 60.0  # a busy machine may pause for seconds


class SabotageTest(SimpleTestCase):
    def test_knows_the_model_of_every_constraint(self) -> None:
        known = {name: model for name, (_, model) in sabotage.constraints().items()}
        ours = {
            constraint.name: model.__name__
            for model in apps.get_app_config("wallets").get_models()
            for constraint in model._meta.constraints
        }
        self.assertEqual(known, ours)


@slow
class OwnServerTest(SimpleTestCase):
    """The drill's own server, of each kind that is installed here."""

    def server(self, kind: str) -> OwnServer:
        if reason := servers.missing(kind):
            self.skipTest(reason)
        server = servers.start(kind)
        self.addCleanup(server.end)
        return server

    def rows(self, server: OwnServer, *statements: str) -> list[Any]:
        """Return the rows of the last statement."""
        try:
            if server.kind == "postgresql":
                import psycopg

                connection: Any = psycopg.connect(server.url("postgres"))
            else:
                import pymysql

                connection = pymysql.connect(
                    host="127.0.0.1", port=server.port, user="root", ssl_disabled=True
                )
        except ImportError as missing:
            self.skipTest(str(missing))
        with connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            connection.commit()
            return list(cursor.fetchall()) if cursor.description else []

    def test_keeps_what_it_committed_over_a_kill(self) -> None:
        write = ("CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
        for kind, before in {"postgresql": "SELECT 1", "mariadb": "USE mysql"}.items():
            with self.subTest(kind):
                server = self.server(kind)
                self.rows(server, before, *write)
                server.kill()
                self.assertFalse(server.alive)
                server.start()
                found = self.rows(server, before, "SELECT n FROM kept")
                self.assertEqual([tuple(row) for row in found], [(7,)])

    def test_has_a_clock_that_is_stepped_under_it(self) -> None:
        if reason := clock_shim.missing():
            self.skipTest(reason)
        queries = {
            "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
            "mariadb": "SELECT unix_timestamp(now(6))",
        }
        for kind, query in queries.items():
            with self.subTest(kind):
                server = self.server(kind)
                for ahead in (HOUR, -HOUR, 0.0):
                    server.clock.step_to(ahead)
                    time.sleep(2 * clock_shim.SEEN_AFTER)
                    ((shown,),) = self.rows(server, query)
                    off = float(shown) - time.time()
                    self.assertAlmostEqual(off, ahead, delta=STALL)

    def test_leaves_nothing_behind(self) -> None:
        for kind in servers.KINDS:
            with self.subTest(kind):
                server = self.server(kind)
                server.end()
                self.assertFalse(server.alive)
                self.assertFalse(server.folder.exists())


@slow
class OwnBankTest(SimpleTestCase):
    """Two simulators that got the same port: one answered for both, unnoticed."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def simulator(self, name: str) -> bank.Simulator:
        (self.folder / name).mkdir()
        simulator = bank.Simulator(self.folder / name)
        self.addCleanup(simulator.stop)
        return simulator

    def test_is_not_the_one_of_somebody_else_on_its_port(self) -> None:
        first = self.simulator("first")
        first.wait()
        with (
            mock.patch.object(bank, "free_port", return_value=first.port),
            mock.patch.object(bank, "START_SECONDS", 3),
        ):
            second = self.simulator("second")
            with self.assertRaisesMessage(TimeoutError, f"port {first.port}"):
                second.wait()

    def test_gets_a_port_that_was_not_given_before(self) -> None:
        ports = [free_port() for _ in range(2000)]
        self.assertEqual(len(set(ports)), len(ports))


class TroubleTest(SimpleTestCase):
    """The schedule of faults, on a system without running processes."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        names = ("api", "worker-1", "beat-1", "database")
        process = mock.Mock(alive=True, pid=0)
        process.name = "worker-1"
        self.system: Any = SimpleNamespace(
            processes=[],
            bank=process,
            api=process,
            workers=[process],
            beats=[process],
            receiver=mock.Mock(),
            sequencers=[process],
            couriers=[process],
            redis=None,
            database=mock.Mock(),
            proxy=mock.Mock(),
            clocks={name: SteppedClock(Path(folder.name), name) for name in names},
        )
        self.system.database.name = "database"
        self.system.receiver.name = "receiver"

    def trouble(self, seconds: float = 0) -> Trouble:
        return Trouble(self.system, seed=1, seconds=seconds)

    def test_has_every_clock_and_every_end_of_a_database_among_its_faults(self) -> None:
        trouble = self.trouble()
        names = {kind()[0] for kind, _ in trouble.kinds() for _ in range(99)}
        self.assertLessEqual(
            {
                "API clock stepped",
                "worker clock stepped",
                "Beat clock stepped",
                "database clock stepped",
                "database silent",
                "database killed",
                "bank overloaded",
                "receiver hang",
                "receiver status 410",
                "receiver killed",
                "courier killed",
                "courier frozen",
                "sequencer killed",
                "sequencer frozen",
                "webhook replayed",
            },
            names,
        )

    def test_steps_a_clock_away_and_back(self) -> None:
        trouble = self.trouble()
        _, act = trouble.step_database_clock()
        clock = self.system.clocks["database"]
        self.assertTrue(act())
        self.assertIn(abs(clock.offset), STEPS)
        self.assertIs(act(), False)  # only one at a time
        trouble.relent()
        self.assertEqual(clock.offset, 0)

    def test_ends_a_silence_by_ending_its_connections(self) -> None:
        trouble = self.trouble()
        _, act = trouble.silence_database()
        act()
        proxy = self.system.proxy
        proxy.heal.assert_not_called()
        trouble.relent()
        self.assertEqual(
            [call[0] for call in proxy.method_calls], ["black_hole", "heal", "cut"]
        )

    def test_makes_the_broker_a_replica_and_the_master_again(self) -> None:
        self.system.redis = mock.Mock()
        self.system.redis.name = "broker"
        trouble = self.trouble()
        _, act = trouble._demote_broker()
        act()
        self.system.redis.promote.assert_not_called()
        trouble.relent()
        names = [call[0] for call in self.system.redis.method_calls]
        self.assertEqual(names, ["demote", "promote"])

    def test_lets_a_receiver_fail_and_be_healthy_again(self) -> None:
        trouble = self.trouble()
        trouble._receiver_for(5, {"all": "hang"})()
        trouble.relent()
        calls = [call.args for call in self.system.receiver.set_modes.call_args_list]
        self.assertEqual(calls, [({"all": "hang"},), ({"all": "ok"},)])

    def test_heals_a_receiver_that_was_frozen_meanwhile_after_that(self) -> None:
        trouble = self.trouble()
        trouble._receiver_for(0, {"all": "hang"})()
        trouble._hurt.add("receiver")
        trouble.step()
        self.assertEqual(self.system.receiver.set_modes.call_count, 1)
        trouble._hurt.clear()
        trouble.relent()
        self.system.receiver.set_modes.assert_called_with({"all": "ok"})

    def test_leaves_alone_what_is_not_its_own(self) -> None:
        self.system.clocks, self.system.proxy = {}, None
        self.system.receiver = None
        names = {kind()[0] for kind, _ in self.trouble().kinds() for _ in range(30)}
        self.assertFalse(
            [
                name
                for name in names
                for word in ("clock", "silent", "receiver", "courier", "webhook")
                if word in name
            ],
            names,
        )


class PauseTest(CommittingTestCase):
    """The operator of the chaos run, while workers claim."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        system: Any = SimpleNamespace(
            workers=[],
            redis=None,
            clocks={},
            proxy=None,
            bank=None,
            receiver=None,
        )
        self.trouble = Trouble(system, seed=1, seconds=0)

    def pause_while_workers_claim(self, claims: int) -> None:
        due = [self.due_withdrawal(10) for _ in range(claims)]

        class Over(threading.Event):
            def wait(_, seconds: float | None = None) -> bool:
                for one in due if seconds is None else ():
                    # Paused: there is nothing to execute.
                    with suppress(Transaction.DoesNotExist):
                        WithdrawalService.execute(one.pk, bank=self.bank)
                return True

        self.trouble._pause(Over())
        self.assertFalse(pause.is_paused())
        self.assertEqual(books.own_wrongs(), [])

    def test_ends_and_nothing_was_claimed(self) -> None:
        self.pause_while_workers_claim(LATE_CLAIMS + 1)
        self.assertEqual(self.trouble.wrongs, [])

    def test_sees_claims_of_workers_that_do_not_care(self) -> None:
        with mock.patch.object(pause, "is_paused", return_value=False):
            self.pause_while_workers_claim(LATE_CLAIMS + 1)
        (wrong,) = self.trouble.wrongs
        self.assertIn("5 claims while payouts were paused", wrong)

    def test_forgives_one_claim_of_each_frozen_process(self) -> None:
        with mock.patch.object(pause, "is_paused", return_value=False):
            self.pause_while_workers_claim(LATE_CLAIMS)
        self.assertEqual(self.trouble.wrongs, [])


class JudgeTest(CommittingTestCase):
    """Forged lists of the bank and forged ledgers: each error is named."""

    def setUp(self) -> None:
        super().setUp()
        self.plan = Plan(self.alice.uuid, self.now)
        self.plan.deposit()
        self.pay("first", Does.PAY)
        self.pay("second", Does.REFUSE)
        self.pay("too_much", Does.PAY)
        self.plan.cancel()
        self.plan.record()
        self.payments = [
            {"reference": str(reference)} for reference in self.bank.paid_references()
        ]
        self.payments.append({"reference": str(self.plan.forgotten()["reference"])})

    def pay(self, name: str, does: Does) -> None:
        self.bank.script.append(does)
        WithdrawalService.execute(self.plan.schedule(name).pk, bank=self.bank)
        self.bank.script.clear()

    def wrongs(self, payments: list[dict[str, str]]) -> list[str]:
        found = judge.wrongs(self.plan, payments, may_need_review=False)
        # Without the refused withdrawal, whose retry does not matter here.
        return [wrong for wrong in found if "not final" not in wrong]

    def assert_wrong(self, reason: str, payments: list[dict[str, str]]) -> None:
        found = self.wrongs(payments)
        self.assertTrue(any(reason in wrong for wrong in found), found)

    def reference_of(self, amount: int) -> dict[str, str]:
        (withdrawal,) = (t for t in self.plan.transactions() if t.amount == amount)
        return {"reference": str(withdrawal.attempts.get().reference)}

    def test_finds_nothing_when_all_is_right(self) -> None:
        self.assertEqual(len(self.payments), 2)
        self.assertEqual(self.wrongs(self.payments), [])

    def test_sees_what_was_paid_twice(self) -> None:
        self.assert_wrong("COMPLETED: paid 2 times", self.payments * 2)

    def test_sees_what_was_not_paid(self) -> None:
        self.assert_wrong("COMPLETED: paid 0 times", [])

    def test_sees_what_failed_and_was_paid(self) -> None:
        paid = [*self.payments, self.reference_of(200)]
        self.assert_wrong("FAILED: paid 1 times", paid)

    def test_sees_a_confirmed_cancellation_that_did_not_hold(self) -> None:
        self.plan.cancelled_keys.add(self.plan.keys["first"])
        self.assert_wrong("COMPLETED: its cancellation was confirmed", self.payments)

    def test_sees_what_the_books_know_nothing_of(self) -> None:
        paid = [*self.payments, {"reference": "foreign"}]
        self.assert_wrong("the books know nothing", paid)

    def test_sees_money_that_is_missing(self) -> None:
        self.books_must_be_right = False
        Wallet.objects.filter(pk=self.alice.pk).update(balance=DEPOSIT)
        self.assert_wrong("money:", self.payments)
        found = books.wrong_books()
        self.assertTrue(any("stored_balance" in wrong for wrong in found), found)
