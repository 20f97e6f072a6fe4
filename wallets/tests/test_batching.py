"""Batches of calls: in order, bounded, with an answer for each call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import uvloop
from django.test import SimpleTestCase

from wallets.utils import batching, waiters
from wallets.utils.batching import Batcher, TooManyWaiting, Work
from wallets.utils.waiters import Waiters


class Busy(Exception):
    """The answer that there is none yet."""


class Outage(Exception):
    """An error that concerns all calls of a batch."""


class BatcherTest(SimpleTestCase):
    """The work doubles numbers; some numbers have another effect."""

    def setUp(self) -> None:
        # Even on a busy machine no batch is slow, unless a test makes it slow.
        never = mock.patch.object(batching, "SLOW_SECONDS", 600)
        never.start()
        self.addCleanup(never.stop)
        self.batches: list[list[int]] = []
        self.alone: list[int] = []
        self.goes_on = threading.Event()
        pools = [ThreadPoolExecutor(8), ThreadPoolExecutor(1)]
        for pool in pools:
            self.addCleanup(pool.shutdown)
        self.addCleanup(self.goes_on.set)  # before the pools are shut down
        self.batcher = Batcher(
            Work(
                self.many,
                self.one,
                lambda number, busy: [number],
                is_busy=lambda answer: isinstance(answer, Busy),
                concerns_all=(Outage,),
            ),
            pools[0],
            Waiters(pools[1]),
            max_batch=4,
        )

    def many(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append([*numbers])
        if -1 in numbers:
            self.goes_on.wait(10)
        if -2 in numbers:
            raise ValueError("poison")
        if -3 in numbers:
            raise Outage
        return [Busy() if number == -4 else self.double(number) for number in numbers]

    def one(self, number: int, busy: int | Exception | None) -> int | Exception:
        self.alone.append(number)
        if number == -4:
            self.goes_on.wait(10)
        if number == -2:
            raise ValueError("poison")
        return self.double(number)

    def double(self, number: int) -> int | Exception:
        return LookupError(number) if number == -5 else 2 * number

    async def ask(self, *numbers: int) -> list[int | BaseException]:
        calls = [self.batcher.ask(number) for number in numbers]
        return await asyncio.gather(*calls, return_exceptions=True)

    async def hold_up(self) -> asyncio.Task[int]:
        """Start a batch that works until `goes_on` is set; return its caller."""
        task = asyncio.create_task(self.batcher.ask(-1))
        while not self.batches:
            await asyncio.sleep(0.001)
        return task

    async def test_answers_each_call_in_order_of_arrival(self) -> None:
        first = await self.hold_up()
        others = asyncio.create_task(self.ask(*range(10)))
        await asyncio.sleep(0.01)
        self.goes_on.set()
        self.assertEqual(await others, [2 * n for n in range(10)])
        self.assertEqual(await first, -2)
        self.assertEqual([n for batch in self.batches[1:] for n in batch], [*range(10)])
        self.assertLessEqual(max(map(len, self.batches)), 4)
        self.assertEqual(self.alone, [])

    async def test_answers_a_single_call_without_waiting_for_others(self) -> None:
        with mock.patch.object(batching, "GATHER_SECONDS", 60):
            for number in range(3):
                self.assertEqual(await self.batcher.ask(number), 2 * number)
        self.assertEqual(self.batches, [[0], [1], [2]])

    def test_takes_calls_while_its_timer_is_almost_due(self) -> None:
        """On the server's loop, where such a timer is a handle without a time."""

        async def ask_again() -> None:
            for _ in range(50):
                answers = await asyncio.wait_for(self.ask(1, 2, 3), 10)
                self.assertEqual(answers, [2, 4, 6])

        with mock.patch.object(batching, "GATHER_SECONDS", 0.0004):
            for run in (asyncio.run, uvloop.run):
                run(ask_again())
        self.assertEqual(sum(map(len, self.batches)), 300)

    async def test_waits_for_the_callers_of_the_last_batch(self) -> None:
        held = await self.hold_up()
        with mock.patch.object(batching, "GATHER_SECONDS", 60):
            waiting = asyncio.create_task(self.ask(1, 2))
            await asyncio.sleep(0.01)
            self.goes_on.set()
            await held
            await asyncio.sleep(0.02)
            self.assertFalse(waiting.done())
            await self.batcher.ask(3)
            await waiting
        self.assertEqual(self.batches, [[-1], [1, 2, 3]])

    async def test_waits_only_briefly_for_callers_that_do_not_come(self) -> None:
        await self.ask(1, 2, 3, 4)
        await asyncio.wait_for(self.batcher.ask(5), timeout=5)

    async def test_gives_a_refusal_to_its_caller_alone(self) -> None:
        held = await self.hold_up()
        answers = asyncio.create_task(self.ask(1, -5, 2))
        await asyncio.sleep(0.01)
        self.goes_on.set()
        await held
        one, refusal, two = await answers
        self.assertEqual((one, two), (2, 4))
        self.assertIsInstance(refusal, LookupError)

    async def test_keeps_a_failing_call_from_failing_the_others(self) -> None:
        held = await self.hold_up()
        answers = asyncio.create_task(self.ask(1, -2, 2))
        await asyncio.sleep(0.01)
        self.goes_on.set()
        await held
        with self.assertLogs("wallets.utils.batching", "WARNING"):
            one, poison, two = await answers
        self.assertEqual((one, two), (2, 4))
        self.assertIsInstance(poison, ValueError)
        self.assertEqual(sorted(self.alone), [-2, 1, 2])

    async def test_does_not_repeat_calls_after_an_error_that_concerns_all(self) -> None:
        held = await self.hold_up()
        answers = asyncio.create_task(self.ask(1, -3, 2))
        await asyncio.sleep(0.01)
        self.goes_on.set()
        await held
        self.assertEqual([type(one) for one in await answers], [Outage] * 3)
        self.assertEqual(self.alone, [])

    async def test_answers_others_while_one_waits_for_a_lock(self) -> None:
        locked = asyncio.create_task(self.batcher.ask(-4))
        while not self.alone:
            await asyncio.sleep(0.001)
        self.assertEqual(await self.ask(*range(8)), [2 * n for n in range(8)])
        self.assertFalse(locked.done())
        self.goes_on.set()
        self.assertEqual(await locked, -8)

    async def test_begins_beside_a_batch_that_hangs(self) -> None:
        with mock.patch.object(batching, "SLOW_SECONDS", 0.01):
            held = await self.hold_up()
            self.assertEqual(await self.ask(1, 2), [2, 4])
        self.assertFalse(held.done())

    async def test_waits_for_no_other_batch_of_one_call(self) -> None:
        self.batcher.max_batch = 1
        held = await self.hold_up()
        self.assertEqual(await self.ask(1, 2), [2, 4])
        self.assertFalse(held.done())

    async def test_has_a_bounded_number_of_batches_at_work(self) -> None:
        with mock.patch.object(batching, "SLOW_SECONDS", 0.0):
            calls = []
            for _ in range(batching.MAX_RUNNING + 2):
                calls.append(asyncio.create_task(self.batcher.ask(-1)))
                await asyncio.sleep(0.02)
            self.assertEqual(len(self.batches), batching.MAX_RUNNING)
            self.goes_on.set()
            await asyncio.gather(*calls)

    async def test_refuses_more_than_can_wait_and_does_nothing(self) -> None:
        held = await self.hold_up()
        with mock.patch.object(batching, "MAX_WAITING", 2):
            waiting = asyncio.create_task(self.ask(1, 2, 3))
            await asyncio.sleep(0.01)
            self.goes_on.set()
            one, two, refused = await waiting
        await held
        self.assertEqual((one, two), (2, 4))
        self.assertIsInstance(refused, TooManyWaiting)
        self.assertNotIn(3, [n for batch in self.batches for n in batch])

    async def test_refuses_more_than_can_wait_for_locks(self) -> None:
        with mock.patch.object(waiters, "MAX_WAITING", 1):
            locked = asyncio.create_task(self.batcher.ask(-4))
            while not self.alone:
                await asyncio.sleep(0.001)
            with self.assertRaises(TooManyWaiting):
                await self.batcher.ask(-4)
            self.goes_on.set()
            await locked

    async def test_cancels_nothing_for_a_caller_that_goes_away(self) -> None:
        held = await self.hold_up()
        gone = asyncio.create_task(self.batcher.ask(1))
        other = asyncio.create_task(self.batcher.ask(2))
        await asyncio.sleep(0.01)
        gone.cancel()
        self.goes_on.set()
        self.assertEqual(await asyncio.wait_for(other, 10), 4)
        await held
        self.assertEqual(self.batches[1], [1, 2])
