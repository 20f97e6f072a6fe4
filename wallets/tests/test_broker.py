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
from typing import Any
from unittest import mock, skipUnless

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


def patient() -> Any:
    """A step may take so long: who waits for one is seen, and nothing is lost in haste."""
    return mock.patch.object(broker, "TIMEOUT_SECONDS", 2 * BOUND_SECONDS)


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
        """Ring as a request does."""
        broker.ring(TASK, args=[1], eta=timezone.now() + timedelta(minutes=5))

    def assert_bounded(self) -> None:
        """Whatever has been rung for is on its way or dropped, in time."""
        self.assertTrue(broker.flush(BOUND_SECONDS), "publishing hangs")

    def assert_publishes_again(self) -> None:
        """After a rest, a message arrives, without any restart."""
        time.sleep(broker.REST_SECONDS)
        before = self.published()
        with patient():
            self.ring()
            self.assert_bounded()
        self.assertEqual(self.published(), before + 1)

    def published(self) -> int:
        """How many messages the broker has taken."""
        return self.broker.waiting()

    @patient()
    def test_publishes(self) -> None:
        broker.ring(TASK, args=[1])
        self.assert_bounded()
        self.assertEqual(self.published(), 1)

    @patient()
    def test_never_waits_for_a_step(self) -> None:
        """However long it takes."""
        self.broker.proxy.black_hole()
        began = time.monotonic()
        for _ in range(3):
            self.ring()
        self.assertLess(time.monotonic() - began, BOUND_SECONDS)
        self.broker.proxy.heal()
        self.broker.proxy.cut()
        self.assert_bounded()

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

    @patient()
    def test_loses_no_message_when_its_connection_was_cut_meanwhile(self) -> None:
        self.ring()
        self.assert_bounded()
        before = self.published()
        self.broker.proxy.cut()
        self.ring()
        self.assert_bounded()
        self.assertEqual(self.published(), before + 1)

    @patient()
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

    @patient()
    def test_rings_in_a_forked_child_on_a_connection_of_its_own(self) -> None:
        self.ring()
        self.assert_bounded()
        before, connections = self.published(), self.broker.proxy.connections
        self.assertEqual(in_child(self.ring_twice), 0)
        self.assertEqual(self.published(), before + 2)
        wait_until(
            lambda: self.broker.proxy.connections == connections,
            seconds=BOUND_SECONDS,
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
        with patient():
            self.assertTrue(broker.answers())
        self.broker.proxy.black_hole()
        began = time.monotonic()
        self.assertFalse(broker.answers())
        self.assertLess(time.monotonic() - began, 10)  # thirty of its steps


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
        # What was sent meanwhile is with the server, and counted once it goes on.
        wait_until(
            lambda: self.broker.proxy.connections == 0,
            seconds=BOUND_SECONDS,
            what="our connections to end",
        )
        self.broker.server.thaw()
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

    @patient()
    def test_publishes_again_after_the_server_was_flushed(self) -> None:
        self.ring()
        self.assert_bounded()
        self.broker.server.flush()
        self.assert_publishes_again()

    @patient()
    def test_drops_what_comes_faster_than_the_broker_takes_it(self) -> None:
        self.broker.server.freeze()
        taken = [broker.ring(TASK, args=[1]) for _ in range(3 * broker.MAX_WAITING)]
        self.assertIn(False, taken)
        self.broker.server.thaw()
        self.assert_bounded()
        self.assertEqual(self.published(), taken.count(True))


@skipUnless(RABBITMQ_URL, "TEST_RABBITMQ_URL names no RabbitMQ")
@marks.slow
class RabbitMQPublishingTest(PublishingTests, SimpleTestCase):
    broker: RabbitMQBehindProxy

    def make_broker(self) -> RabbitMQBehindProxy:
        self.taken = 0
        return RabbitMQBehindProxy()

    def ring(self) -> None:
        # No timer: the delay queues' exchanges come with the first worker.
        broker.ring(TASK, args=[1])

    def published(self) -> int:
        # A quorum queue counts a confirmed message a moment later: we take and count.
        self.taken += self.broker.take()
        return self.taken

    @patient()
    def test_drops_a_timer_too_short_for_the_delay_queues(self) -> None:
        broker.ring(TASK, args=[1], eta=timezone.now() + timedelta(seconds=0.5))
        self.assert_bounded()
        self.assertEqual(self.published(), 1)
