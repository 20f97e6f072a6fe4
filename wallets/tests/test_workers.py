"""Real workers with faults of messages, brokers and their own processes.

By the bank simulator's list, each withdrawal is paid once.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import uuid
from typing import Any
from unittest import skipUnless
from urllib.parse import urlsplit, urlunsplit

from celery import current_app
from django.db import connection
from django.test import SimpleTestCase

from drills import services
from drills.process import ROOT, Process, children_of, send, wait_until
from drills.proxy import Proxy
from drills.services import environment
from wallets.tests import marks
from wallets.tests.brokers import RABBITMQ_URL, at_port
from wallets.tests.workers import PAID, PROBE, WorkerTestCase
from wallets.utils.messaging import broker

SINGLE = "wallets.tasks.process_single_withdrawal"
# The longest delay after a fault of the broker, without a restart of the worker.
CONSUMES_AGAIN_SECONDS = 60

# Brokers and workers do not depend on the engine of the database.
on_one_engine = skipUnless(connection.vendor == "sqlite", "shown on SQLite")


@marks.slow
class MessageTest(WorkerTestCase):
    """Repeated, late and malformed messages."""

    @on_one_engine
    def test_pays_at_the_exact_time_of_a_hand_over(self) -> None:
        self.start_worker()
        withdrawals = [self.soon(seconds=seconds) for seconds in (0.6, 1.2, 1.8)]
        self.wait_for(PAID, *withdrawals)
        self.assertGreaterEqual(min(map(lateness, withdrawals)), 0)
        # A busy machine may be late for one or two.
        self.assertLess(min(map(lateness, withdrawals)), 1.5)

    def test_pays_once_what_two_workers_are_told_at_the_same_time(self) -> None:
        for name in ("one", "two"):
            self.start_worker(name)
        withdrawals = [self.soon(amount) for amount in range(1, 11)]
        for _ in range(4):
            for withdrawal in withdrawals:
                broker.publish(SINGLE, args=[withdrawal.pk])
        self.wait_for(PAID, *withdrawals)
        for withdrawal in withdrawals:  # and late ones
            broker.publish(SINGLE, args=[withdrawal.pk])
        self.wait_until_idle()
        self.assertEqual(self.payments(), {amount: 1 for amount in range(1, 11)})

    @on_one_engine
    def test_survives_malformed_messages_and_continues_to_pay(self) -> None:
        worker = self.start_worker()
        for args in (
            [10**12],
            [0],
            ["x"],
            [None],
            [[]],
            [{}],
            [1.5],
            ["1"],
            [],
            [1, 2],
        ):
            self.push(args=args)
        self.push(args=["x" * 10_000_000])
        self.push(task="wallets.tasks.no_such_task", args=[])
        self.push(
            body=pickle.dumps(([1], {}, {})),
            content_type="application/x-python-serialize",
        )
        self.push(body=b"\x80\x81 no JSON", content_type="application/json")
        self.wait_until_idle()
        withdrawal = self.soon()
        self.wait_for(PAID, withdrawal)
        self.assertTrue(worker.alive)
        self.assertEqual(self.payments(), {10: 1})

    def push(
        self,
        *,
        task: str = SINGLE,
        args: Any = None,
        body: bytes = b"",
        content_type: str = "application/json",
    ) -> None:
        """Put a message into the queue, like a foreign program."""
        if not body:
            body = json.dumps([args, {}, {}]).encode()
        task_id = str(uuid.uuid4())
        envelope = {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "binary" if "python" in content_type else "utf-8",
            "content-type": content_type,
            "headers": {"lang": "py", "task": task, "id": task_id, "root_id": task_id},
            "properties": {
                "correlation_id": task_id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "wallet"},
                "body_encoding": "base64",
                "delivery_tag": task_id,
            },
        }
        self.push_raw(json.dumps(envelope).encode())

    def push_raw(self, message: bytes) -> None:
        with self.redis.client() as client:
            client.lpush(current_app.conf.task_default_queue, message)

    def wait_until_idle(self) -> None:
        """Wait until the queue is empty and all its messages are done."""
        broker.flush(60)
        queue = current_app.conf.task_default_queue
        with self.redis.client() as client:
            self.wait_until(
                lambda: client.llen(queue) == 0,
                "the queue to be empty",
                *self.processes,
            )
        self.wait_for(PAID, self.soon(PROBE))


def lateness(withdrawal: Any) -> float:
    """Return the seconds from the scheduled time to the payment."""
    late = withdrawal.executed_at - withdrawal.scheduled_for
    return float(late.total_seconds())


@on_one_engine
@marks.slow
class StartOfWorkerTest(SimpleTestCase):
    def test_is_refused_when_the_limits_are_out_of_order(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "wallet", "worker"],
            cwd=ROOT,
            env=environment({"WITHDRAWAL_LEASE": "1"}),
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("WITHDRAWAL_LEASE", done.stderr)


@on_one_engine
@marks.slow
class LossOfRedisTest(WorkerTestCase):
    """Workers and Beat reconnect automatically, whatever happens to the broker."""

    def start_broker(self) -> str:
        redis_url = super().start_broker()
        self.proxy = Proxy(self.redis.port)
        self.addCleanup(self.proxy.close)
        return at_port(redis_url, self.proxy.port)

    def setUp(self) -> None:
        super().setUp()
        self.worker = self.start_worker()
        self.beat = self.start_beat()
        self.wait_for(PAID, self.soon(PROBE))
        self.pids = (self.worker.pid, self.beat.pid)

    def assert_consumes_again(self) -> None:
        """Check that a new withdrawal is paid in time, by the same processes."""
        self.wait_for(PAID, self.soon(), seconds=CONSUMES_AGAIN_SECONDS)
        self.assertTrue(self.worker.alive and self.beat.alive)
        self.assertEqual(self.pids, (self.worker.pid, self.beat.pid))
        self.assertEqual(self.payments(), {10: 1})

    def test_consumes_again_whatever_happens_to_the_server(self) -> None:
        for _ in range(3):
            self.redis.kill()
            time.sleep(1)
            self.redis.start()
            self.wait_for(PAID, self.soon(PROBE), seconds=CONSUMES_AGAIN_SECONDS)
        self.redis.flush()
        self.wait_for(PAID, self.soon(PROBE), seconds=CONSUMES_AGAIN_SECONDS)
        self.redis.freeze()
        time.sleep(8)  # longer than any time-out
        self.redis.thaw()
        self.assert_consumes_again()

    def test_consumes_again_after_the_server_was_a_replica_for_a_while(self) -> None:
        """The server was demoted by mistake, or by a failover that was reverted."""
        with self.redis.client() as client:
            for _ in range(3):
                client.replicaof("127.0.0.1", 9)  # a port without a listener
                time.sleep(4)
                client.replicaof("NO", "ONE")
                self.wait_for(PAID, self.soon(PROBE), seconds=CONSUMES_AGAIN_SECONDS)
        self.assert_consumes_again()

    def test_consumes_again_after_its_connection_was_half_open(self) -> None:
        self.proxy.black_hole()
        time.sleep(2)
        self.proxy.heal()
        self.assert_consumes_again()


@on_one_engine
@skipUnless(RABBITMQ_URL, "TEST_RABBITMQ_URL names no RabbitMQ")
@marks.slow
class RabbitMQTest(WorkerTestCase):
    """The same with RabbitMQ and quorum queues, in the test's own virtual host."""

    def start_broker(self) -> str:
        host = f"wallet-test-{uuid.uuid4()}"
        user = urlsplit(RABBITMQ_URL).username
        self.addCleanup(rabbitmqctl, "delete_vhost", host)
        rabbitmqctl("add_vhost", host)
        rabbitmqctl("set_permissions", "-p", host, str(user), ".*", ".*", ".*")
        self.proxy = Proxy(urlsplit(RABBITMQ_URL).port or 5672)
        self.addCleanup(self.proxy.close)
        parts = urlsplit(at_port(RABBITMQ_URL, self.proxy.port))
        return urlunsplit(parts._replace(path=f"/{host}"))

    def test_pays_at_the_exact_time_of_a_hand_over(self) -> None:
        self.start_worker()
        withdrawals = [self.soon(seconds=seconds) for seconds in (0.6, 1.2, 1.8)]
        self.wait_for(PAID, *withdrawals)
        self.assertGreaterEqual(min(map(lateness, withdrawals)), 0)
        # A busy machine may be late for one or two.
        self.assertLess(min(map(lateness, withdrawals)), 1.5)

    def test_consumes_again_after_its_connection_was_cut_or_half_open(self) -> None:
        worker, beat = self.start_worker(), self.start_beat()
        self.wait_for(PAID, self.soon(PROBE))
        self.proxy.cut()
        self.wait_for(PAID, self.soon(PROBE), seconds=CONSUMES_AGAIN_SECONDS)
        self.proxy.black_hole()
        time.sleep(2)
        self.proxy.heal()
        self.wait_for(PAID, self.soon(), seconds=CONSUMES_AGAIN_SECONDS)
        self.assertTrue(worker.alive and beat.alive)
        self.assertEqual(self.payments(), {10: 1})

    def test_survives_malformed_messages_and_continues_to_pay(self) -> None:
        worker = self.start_worker()
        with current_app.connection_for_write() as rabbitmq:
            producer = rabbitmq.Producer()
            headers = {"lang": "py", "task": SINGLE, "id": "x", "root_id": "x"}
            poison = [
                (pickle.dumps(([1], {}, {})), "application/x-python-serialize"),
                (b"\x80\x81 no JSON", "application/json"),
                (b"x" * 10_000_000, "text/plain"),
                (b'[["x"], {}, {}]', "application/json"),
            ]
            for body, content_type in poison:
                producer.publish(
                    body,
                    exchange="wallet",
                    routing_key="wallet",
                    content_type=content_type,
                    content_encoding="utf-8",
                    headers=headers,
                )
        self.wait_for(PAID, self.soon())
        self.assertTrue(worker.alive)


def rabbitmqctl(*arguments: str) -> None:
    subprocess.run(["rabbitmqctl", "-q", *arguments], check=True, capture_output=True)


@on_one_engine
@marks.slow
class EndOfWorkerTest(WorkerTestCase):
    """A worker or its child ends during a call: paid once, with a known outcome."""

    # The bank is slow, so that also a busy machine can end a waiting process.
    LATENCY = 2.8
    times = {
        "WITHDRAWAL_DUE_INTERVAL": "1",
        "THIRD_PARTY_DEADLINE": "3",
        "WITHDRAWAL_RECORDING_TIME": "0.1",
        "WITHDRAWAL_SOFT_TIME_LIMIT": "7.2",
        "WITHDRAWAL_HARD_TIME_LIMIT": "7.6",
    }

    def setUp(self) -> None:
        super().setUp()
        self.start_beat()
        self.wait_until(lambda: self.processes[-1].alive, "beat to live")

    def asked(self, worker: Process, **faults: Any) -> tuple[Any, int]:
        """Return a withdrawal that the bank has just paid, and the child that waits."""
        self.bank_simulator.set_faults(latency=self.LATENCY, **faults)
        withdrawal = self.soon()
        self.wait_until(lambda: self.payments() == {10: 1}, "the bank to pay", worker)
        (child,) = [
            pid
            for pid in children_of(worker.pid)
            if talks_to(pid, self.bank_simulator.port)
        ]
        return withdrawal, child

    def assert_paid_once(self, withdrawal: Any, seconds: float = 60) -> float:
        took = self.wait_for(PAID, withdrawal, seconds=seconds)
        self.assertEqual(self.payments(), {10: 1})
        return took

    def check_killed_child(self, **celery: Any) -> None:
        worker = self.start_worker(**celery)
        withdrawal, child = self.asked(worker)
        send(child, signal.SIGKILL)
        self.assert_paid_once(withdrawal)

    def test_pays_once_when_a_child_is_killed_after_an_early_acknowledgement(
        self,
    ) -> None:
        self.check_killed_child()

    def test_pays_once_when_a_child_is_killed_before_a_late_acknowledgement(
        self,
    ) -> None:
        self.check_killed_child(task_acks_late=True)

    def test_pays_once_when_a_lost_child_gives_its_message_back(self) -> None:
        self.check_killed_child(task_acks_late=True, task_reject_on_worker_lost=True)

    def test_pays_once_when_a_message_comes_again_before_the_call_ends(self) -> None:
        options = {"ack_emulation": True, "visibility_timeout": 1}
        restore = {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
        late = {"task_acks_late": True, "broker_transport_options": options | restore}
        workers = [self.start_worker(name, **late) for name in ("one", "two")]
        self.bank_simulator.set_faults(latency=1.2)
        withdrawals = [self.soon(amount) for amount in (1, 2, 3, 4)]
        self.wait_for(PAID, *withdrawals)
        self.assertTrue(all(worker.alive for worker in workers))
        self.assertEqual(self.payments(), {1: 1, 2: 1, 3: 1, 4: 1})

    def test_resolves_what_a_killed_worker_left_within_its_lease_and_a_sweep(
        self,
    ) -> None:
        worker = self.start_worker("one")
        withdrawal, _ = self.asked(worker)
        worker.kill()
        self.start_worker("two")
        self.assertLess(self.assert_paid_once(withdrawal), 30)

    def test_records_the_answer_before_a_warm_shutdown(self) -> None:
        self.times = services.PATIENT_TIMES
        worker = self.start_worker()
        withdrawal, _ = self.asked(worker)
        worker.signal(signal.SIGTERM)
        wait_until(lambda: not worker.alive, seconds=60, what="the worker to end")
        self.assertEqual(self.status(withdrawal), PAID)
        self.assertEqual(self.payments(), {10: 1})

    def test_resolves_what_a_cold_shutdown_left(self) -> None:
        worker = self.start_worker("one")
        withdrawal, _ = self.asked(worker)
        worker.signal(signal.SIGQUIT)
        self.start_worker("two")
        self.assert_paid_once(withdrawal)

    def test_never_takes_a_time_limit_for_a_refusal(self) -> None:
        self.times = {}  # the time limits end the calls here
        limits = {
            "soft": {"task_soft_time_limit": 0.5},
            "hard": {"task_time_limit": 0.5},
        }
        for name, limit in limits.items():
            with self.subTest(limit=name):
                worker = self.start_worker(name, **limit)
                self.bank_simulator.set_faults(latency=1.2)
                withdrawal = self.soon(amount=len(self.payments()) + 1, seconds=0.1)
                self.wait_for("PROCESSING", withdrawal)
                worker.kill()
                self.start_worker(f"after-{name}")
                self.wait_for(PAID, withdrawal)
        self.assertEqual(self.payments(), {1: 1, 2: 1})


def talks_to(pid: int, port: int) -> bool:
    """Whether the process has a connection to this loopback port."""
    sockets = set()
    for descriptor in os.scandir(f"/proc/{pid}/fd"):
        sockets.add(os.readlink(descriptor.path))
    with open(f"/proc/{pid}/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    remote = f"0100007F:{port:04X}"
    return any(row[2] == remote and f"socket:[{row[9]}]" in sockets for row in rows)
