"""Publishing never waits for a broker, whatever the broker does.

Against a real Redis of our own and the shared RabbitMQ, each behind a proxy.
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from unittest import skipUnless

from django.test import SimpleTestCase
from django.utils import timezone

from drills.process import wait_until
from wallets.tests import marks
from wallets.tests.brokers import (
    RABBITMQ_URL,
    RabbitMQBehindProxy,
    RedisBehindProxy,
    publishing_to,
)
from wallets.utils import broker

TASK = "wallets.tasks.process_single_withdrawal"
# What hangs, hangs for ever; a busy machine may take long for what does not.
BOUND_SECONDS = 60


class PublishingTests(ABC):
    """What holds for every broker. `self.broker` is the one under test."""

    broker: RedisBehindProxy | RabbitMQBehindProxy

    @abstractmethod
    def make_broker(self) -> RedisBehindProxy | RabbitMQBehindProxy:
        """The broker under test, running."""

    def setUp(self) -> None:
        super().setUp()
        self.broker = self.make_broker()
        self.addCleanup(self.broker.close)
        context = publishing_to(self.broker.url, self.broker.queue)
        context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)

    def ring(self) -> None:
        """Ring as a request does; it must not take the time of any step."""
        began = time.monotonic()
        broker.ring(TASK, args=[1], eta=timezone.now() + timedelta(seconds=5))
        self.assertLess(time.monotonic() - began, broker.TIMEOUT_SECONDS)

    def assert_bounded(self) -> None:
        """Whatever has been rung for is on its way or dropped, in time."""
        self.assertTrue(broker.flush(BOUND_SECONDS), "publishing hangs")

    def assert_publishes_again(self) -> None:
        """After a rest, a message arrives, without any restart."""
        time.sleep(broker.REST_SECONDS)
        before = self.published()
        self.ring()
        self.assert_bounded()
        self.assertEqual(self.published(), before + 1)

    def published(self) -> int:
        """How many messages the broker has taken."""
        return self.broker.waiting()

    def test_publishes(self) -> None:
        broker.ring(TASK, args=[1])
        self.assert_bounded()
        self.assertEqual(self.broker.waiting(), 1)

    def test_never_waits_at_whichever_step_the_broker_falls_silent(self) -> None:
        for answers in range(14):
            with self.subTest(answers=answers):
                broker._ringer = broker.Ringer()  # from the first connection on
                if answers:
                    self.broker.proxy.black_hole_after(answers)
                else:
                    self.broker.proxy.black_hole()
                for _ in range(3):
                    self.ring()
                self.assert_bounded()
                self.broker.proxy.heal()

    def test_publishes_again_after_its_connection_was_black_holed(self) -> None:
        self.ring()
        self.assert_bounded()
        self.broker.proxy.black_hole()
        self.ring()
        self.assert_bounded()
        self.broker.proxy.heal()
        self.assert_publishes_again()

    def test_loses_no_message_when_its_connection_was_cut_meanwhile(self) -> None:
        self.ring()
        self.assert_bounded()
        before = self.published()
        self.broker.proxy.cut()
        self.ring()
        self.assert_bounded()
        self.assertEqual(self.published(), before + 1)

    def test_keeps_one_connection_however_many_threads_ring(self) -> None:
        threads = [threading.Thread(target=self.ring) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assert_bounded()
        at_first = self.broker.proxy.connections
        for _ in range(10):
            thread = threading.Thread(target=self.ring)
            thread.start()
            thread.join()
        self.assert_bounded()
        self.assertEqual(self.broker.proxy.connections, at_first)
        self.assertLessEqual(at_first, 2)  # Redis' transport opens two

    def test_rings_in_a_forked_child_on_a_connection_of_its_own(self) -> None:
        self.ring()
        self.assert_bounded()
        before, connections = self.published(), self.broker.proxy.connections
        self.assertEqual(in_child(self.ring_twice), 0)
        self.assertEqual(self.published(), before + 2)
        wait_until(
            lambda: self.broker.proxy.connections == connections,
            seconds=5,
            what="the child's connection to end and ours to stay",
        )
        self.ring()
        self.assert_bounded()
        self.assertEqual(self.published(), before + 3)

    def ring_twice(self) -> None:
        for _ in range(2):
            self.ring()
            self.assert_bounded()

    def test_knows_whether_the_broker_answers(self) -> None:
        self.assertTrue(broker.answers())
        self.broker.proxy.black_hole()
        began = time.monotonic()
        self.assertFalse(broker.answers())
        self.assertLess(time.monotonic() - began, 1.5)


def in_child(work: Callable[[], None]) -> int:
    """Run it in a forked child; return how that ended."""
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
        self.ring()
        self.assert_bounded()
        self.broker.server.freeze()
        for _ in range(3):
            self.ring()
        self.assert_bounded()
        self.broker.server.thaw()
        time.sleep(0.2)  # what was sent before the freeze arrives now
        self.assert_publishes_again()

    def test_publishes_again_after_the_server_was_killed(self) -> None:
        self.ring()
        self.assert_bounded()
        self.broker.server.kill()
        for _ in range(3):
            self.ring()
        self.assert_bounded()
        self.broker.server.start()
        self.assert_publishes_again()

    def test_publishes_again_after_the_server_was_flushed(self) -> None:
        self.ring()
        self.assert_bounded()
        self.broker.server.flush()
        self.assert_publishes_again()

    def test_drops_what_comes_faster_than_the_broker_takes_it(self) -> None:
        self.broker.server.freeze()
        began = time.monotonic()
        taken = [broker.ring(TASK, args=[1]) for _ in range(3 * broker.MAX_WAITING)]
        self.assertLess(time.monotonic() - began, 1)
        self.assertIn(False, taken)
        self.assert_bounded()


@skipUnless(RABBITMQ_URL, "TEST_RABBITMQ_URL names no RabbitMQ")
@marks.slow
class RabbitMQPublishingTest(PublishingTests, SimpleTestCase):
    broker: RabbitMQBehindProxy

    def make_broker(self) -> RabbitMQBehindProxy:
        return RabbitMQBehindProxy()

    def ring(self) -> None:
        # No timer: the delay queues' exchanges come with the first worker.
        began = time.monotonic()
        broker.ring(TASK, args=[1])
        self.assertLess(time.monotonic() - began, broker.TIMEOUT_SECONDS)

    def published(self) -> int:
        # A quorum queue counts a confirmed message a moment later.
        time.sleep(0.2)
        return super().published()

    def test_drops_a_timer_too_short_for_the_delay_queues(self) -> None:
        broker.ring(TASK, args=[1], eta=timezone.now() + timedelta(seconds=0.5))
        self.assert_bounded()
        self.assertEqual(self.published(), 1)
