"""Publishing never waits for a broker, whatever the broker does.

The brokers are the test's own Redis server and the shared RabbitMQ, behind proxies.
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any
from unittest import mock, skipUnless

from django.test import SimpleTestCase

from drills.process import wait_until
from wallets.tests import marks
from wallets.tests.brokers import (
    RABBITMQ_URL,
    RabbitMQBehindProxy,
    RedisBehindProxy,
    publishing_to,
)
from wallets.utils.messaging import broker

TASK = "wallets.tasks.process_single_withdrawal"
DRAIN = "wallets.tasks.drain_pending_withdrawals"
RETRIES = "wallets.tasks.retry_failed_withdrawals"
# Longer than a busy machine needs; a call that hangs would hang for ever.
BOUND_SECONDS = 60


def patient() -> Any:
    """Make the time limit of a step long, so that a wait is noticed and none is cut."""
    return mock.patch.object(broker, "TIMEOUT_SECONDS", 2 * BOUND_SECONDS)


class PublishingTests(ABC):
    """Tests of every broker. `self.broker` is the one under test."""

    broker: RedisBehindProxy | RabbitMQBehindProxy
    counts_after_seconds = 0.0  # a broker may count an accepted message later

    @abstractmethod
    def make_broker(self) -> RedisBehindProxy | RabbitMQBehindProxy:
        """Return the running broker under test."""

    def setUp(self) -> None:
        super().setUp()
        self.broker = self.make_broker()
        self.addCleanup(self.broker.close)
        context = publishing_to(self.broker.url, self.broker.queue)
        context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)

    def publish(self) -> None:
        broker.publish(TASK, args=[1])

    def assert_bounded(self) -> None:
        """Check that every message is sent or dropped, in time."""
        self.assertTrue(broker.flush(BOUND_SECONDS), "publishing hangs")

    def assert_publishes_again(self) -> None:
        """Check that a message arrives after the rest period, without a restart."""
        time.sleep(broker.REST_SECONDS)
        before = self.published()
        with patient():
            self.publish()
            self.assert_bounded()
        self.assertEqual(self.published(), before + 1)

    def published(self) -> int:
        """Return the number of messages that the broker has accepted."""
        return self.broker.waiting()

    @patient()
    def test_publishes(self) -> None:
        broker.publish(TASK, args=[1])
        self.assert_bounded()
        self.assertEqual(self.published(), 1)

    @patient()
    def test_makes_one_message_of_wake_ups_at_the_same_time(self) -> None:
        """The first message is sent at once, and one more for all the others."""
        with mock.patch.object(broker, "SPACING_SECONDS", 2 * BOUND_SECONDS):
            broker.wake_up(DRAIN)
            self.wait_until_published(1)
            for _ in range(5):
                broker.wake_up(DRAIN)
                time.sleep(0.1)  # long enough to publish it
            self.assertEqual(self.published(), 1)
            self.assert_bounded()
        self.assertEqual(self.published(), 2)

    @patient()
    def test_publishes_the_last_one_however_soon_after_another(self) -> None:
        for count in range(1, 4):
            broker.wake_up(DRAIN)
            self.wait_until_published(count)

    @patient()
    def test_adds_nothing_to_a_queue_in_which_enough_waits(self) -> None:
        with mock.patch.object(broker, "MAX_QUEUED", 3):
            for _ in range(5):
                self.publish()
                self.assert_bounded()
                time.sleep(self.counts_after_seconds)
            broker.wake_up(DRAIN, 4)
            self.assert_bounded()
        self.assertEqual(self.published(), 3)

    @patient()
    def test_takes_the_ticks_of_other_tasks_when_enough_wake_ups_wait(self) -> None:
        with mock.patch.object(broker, "MAX_QUEUED", 1):
            broker.wake_up(DRAIN)
            self.assert_bounded()
            time.sleep(self.counts_after_seconds)
            broker.publish(RETRIES)
            self.assert_bounded()
        others = f"{self.broker.queue}-others"
        with mock.patch.object(self.broker, "queue", others):
            self.assertEqual(self.published(), 1)

    def wait_until_published(self, count: int) -> None:
        wait_until(
            lambda: self.published() >= count,
            seconds=BOUND_SECONDS,
            what="a message to be published",
        )

    @patient()
    def test_never_waits_for_a_step(self) -> None:
        """The step may take any time."""
        self.broker.proxy.black_hole()
        began = time.monotonic()
        for _ in range(3):
            self.publish()
        self.assertLess(time.monotonic() - began, BOUND_SECONDS)
        self.broker.proxy.heal()
        self.broker.proxy.cut()
        self.assert_bounded()

    def test_never_waits_at_whichever_step_the_broker_falls_silent(self) -> None:
        for answers in range(14):
            with self.subTest(answers=answers):
                broker._publisher = broker.Publisher()  # from the first connection on
                if answers:
                    self.broker.proxy.black_hole_after(answers)
                else:
                    self.broker.proxy.black_hole()
                for _ in range(3):
                    self.publish()
                self.assert_bounded()
                self.broker.proxy.heal()

    def test_publishes_again_after_its_connection_was_black_holed(self) -> None:
        self.publish()
        self.assert_bounded()
        self.broker.proxy.black_hole()
        self.publish()
        self.assert_bounded()
        self.broker.proxy.heal()
        self.assert_publishes_again()

    @patient()
    def test_loses_no_message_when_its_connection_was_cut_meanwhile(self) -> None:
        self.publish()
        self.assert_bounded()
        before = self.published()
        self.broker.proxy.cut()
        self.publish()
        self.assert_bounded()
        self.assertEqual(self.published(), before + 1)

    @patient()
    def test_keeps_one_connection_however_many_threads_publish(self) -> None:
        threads = [threading.Thread(target=self.publish) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assert_bounded()
        at_first = self.broker.proxy.connections
        for _ in range(10):
            thread = threading.Thread(target=self.publish)
            thread.start()
            thread.join()
        self.assert_bounded()
        self.assertEqual(self.broker.proxy.connections, at_first)
        self.assertLessEqual(at_first, 2)  # Redis' transport opens two

    @patient()
    def test_publishes_in_a_forked_child_on_a_connection_of_its_own(self) -> None:
        self.publish()
        self.assert_bounded()
        before, connections = self.published(), self.broker.proxy.connections
        self.assertEqual(in_child(self.publish_twice), 0)
        self.assertEqual(self.published(), before + 2)
        wait_until(
            lambda: self.broker.proxy.connections == connections,
            seconds=BOUND_SECONDS,
            what="the child's connection to end and ours to stay",
        )
        self.publish()
        self.assert_bounded()
        self.assertEqual(self.published(), before + 3)

    def publish_twice(self) -> None:
        for _ in range(2):
            self.publish()
            self.assert_bounded()

    def test_knows_whether_the_broker_takes_messages(self) -> None:
        with patient():
            self.assertEqual(broker.trouble(), "")
        self.broker.proxy.black_hole()
        began = time.monotonic()
        self.assertEqual(broker.trouble(), "not answering")
        self.assertLess(time.monotonic() - began, 10)  # thirty of its steps


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked child; return its exit status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@marks.slow
class RedisPublishingTest(PublishingTests, SimpleTestCase):
    broker: RedisBehindProxy

    def make_broker(self) -> RedisBehindProxy:
        return RedisBehindProxy()

    def test_publishes_again_after_the_server_was_frozen(self) -> None:
        self.publish()
        self.assert_bounded()
        self.broker.server.freeze()
        for _ in range(3):
            self.publish()
        self.assert_bounded()
        # The server has the messages that were sent; it counts them when it continues.
        wait_until(
            lambda: self.broker.proxy.connections == 0,
            seconds=BOUND_SECONDS,
            what="our connections to end",
        )
        self.broker.server.thaw()
        self.assert_publishes_again()

    def test_publishes_again_after_the_server_was_killed(self) -> None:
        self.publish()
        self.assert_bounded()
        self.broker.server.kill()
        for _ in range(3):
            self.publish()
        self.assert_bounded()
        self.broker.server.start()
        self.assert_publishes_again()

    @patient()
    def test_publishes_again_after_the_server_was_flushed(self) -> None:
        self.publish()
        self.assert_bounded()
        self.broker.server.flush()
        self.assert_publishes_again()

    @patient()
    def test_knows_that_a_replica_takes_no_messages(self) -> None:
        self.assertEqual(broker.trouble(), "")
        with self.broker.server.client() as client:
            client.replicaof("127.0.0.1", 9)  # a port without a listener
            self.assertIn("takes no messages", broker.trouble())
            client.replicaof("NO", "ONE")
            self.assertEqual(broker.trouble(), "")
            client.flushall()
        self.assertEqual(broker.trouble(), "")

    @patient()
    def test_drops_what_comes_faster_than_the_broker_takes_it(self) -> None:
        self.broker.server.freeze()
        taken = [broker.publish(TASK, args=[1]) for _ in range(3 * broker.MAX_WAITING)]
        self.assertIn(False, taken)
        with mock.patch.object(broker, "MAX_QUEUED", 3 * broker.MAX_WAITING):
            self.broker.server.thaw()
            self.assert_bounded()
        self.assertEqual(self.published(), taken.count(True))


@skipUnless(RABBITMQ_URL, "TEST_RABBITMQ_URL names no RabbitMQ")
@marks.slow
class RabbitMQPublishingTest(PublishingTests, SimpleTestCase):
    broker: RabbitMQBehindProxy
    counts_after_seconds = 1.0

    def make_broker(self) -> RabbitMQBehindProxy:
        self.taken = 0
        return RabbitMQBehindProxy()

    def test_knows_that_a_server_takes_no_message_whatever_else_it_answers(
        self,
    ) -> None:
        """An alarm about memory or disk blocks who publishes: only a message shows it."""
        with patient():
            self.assertEqual(broker.trouble(), "")
        for answers in range(3, 8):  # the third ends the handshake
            with self.subTest(answers=answers):
                self.broker.proxy.black_hole_after(answers)
                self.assertIn("takes no messages", broker.trouble())
                self.broker.proxy.heal()

    def published(self) -> int:
        # A quorum queue counts a confirmed message late. So remove and count them.
        self.taken += self.broker.take()
        return self.taken
