"""Calls that wait for locks: one thread for each resource."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any
from unittest import mock

from django.test import SimpleTestCase

from wallets.utils import waiters
from wallets.utils.waiters import TooManyWaiting, Waiters


class InVain(Exception):
    """Somebody else kept the resource for too long."""


class Threads(Executor):
    """Threads whose work ends when the test says so."""

    def __init__(self) -> None:
        self.busy: dict[str, Future[Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.busy[fn()] = Future()
        return self.busy[fn()]


class WaitersTest(SimpleTestCase):
    """Calls have a name, and wait for resources with names of one letter."""

    def setUp(self) -> None:
        self.threads = Threads()
        self.waiters = Waiters(self.threads, (InVain,))

    def ask(self, name: str, resources: str) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        self.waiters.run(lambda: name, [*resources], answer)
        return answer

    async def end(self, name: str, result: Any = "done") -> None:
        thread = self.threads.busy.pop(name)
        if isinstance(result, Exception):
            thread.set_exception(result)
        else:
            thread.set_result(result)
        for _ in range(3):
            await asyncio.sleep(0)

    def at_work(self) -> list[str]:
        return [*self.threads.busy]

    async def test_give_one_thread_to_those_of_one_resource(self) -> None:
        for number in range(9):
            self.ask(f"a{number}", "a")
        stranger = self.ask("b", "b")
        self.assertEqual(self.at_work(), ["a0", "b"])
        await self.end("b")
        self.assertEqual(stranger.result(), "done")

    async def test_begin_in_the_order_in_which_they_came(self) -> None:
        answers = [self.ask(f"a{number}", "a") for number in range(4)]
        await self.end("a0")
        last = self.ask("last", "a")
        for number in range(1, 4):
            self.assertEqual(self.at_work(), [f"a{number}"])
            await self.end(f"a{number}", number)
        await self.end("last")
        results = [one.result() for one in (*answers, last)]
        self.assertEqual(results, ["done", 1, 2, 3, "done"])

    async def test_do_not_wait_for_those_that_have_no_thread_yet(self) -> None:
        self.ask("a", "a")
        self.ask("ab", "ab")
        self.ask("b", "b")
        self.assertEqual(self.at_work(), ["a", "b"])
        await self.end("a")
        self.assertEqual(self.at_work(), ["b"])
        await self.end("b")
        self.assertEqual(self.at_work(), ["ab"])

    async def test_keep_their_order_behind_one_with_several_resources(self) -> None:
        self.ask("abc", "abc")
        for name in ("c1", "b1", "bc", "c2"):
            self.ask(name, name.rstrip("12"))
        await self.end("abc")
        self.assertEqual(self.at_work(), ["c1", "b1"])
        await self.end("b1")
        await self.end("c1")
        self.assertEqual(self.at_work(), ["bc"])

    async def test_are_answered_when_one_before_them_has_waited_in_vain(self) -> None:
        answers = [self.ask(f"a{number}", "a") for number in range(5)]
        both = self.ask("ab", "ab")
        error = InVain()
        await self.end("a0", error)
        self.assertEqual([one.result() for one in (*answers, both)], [error] * 6)
        self.assertEqual(self.at_work(), [])
        self.ask("next", "a")
        self.assertEqual(self.at_work(), ["next"])

    async def test_are_tried_if_it_waited_for_something_else_too(self) -> None:
        self.ask("ab", "ab")
        only_b = self.ask("b", "b")
        others = [self.ask(f"a{letter}", f"a{letter}") for letter in "cde"]
        await self.end("ab", InVain())
        self.assertEqual(self.at_work(), ["b", "ac"])
        error = InVain()
        await self.end("ac", error)  # the others have now waited for as long
        await self.end("b")
        self.assertEqual([one.result() for one in others], [error] * 3)
        self.assertEqual(only_b.result(), "done")

    async def test_are_tried_after_an_error_of_one_call(self) -> None:
        first, second = self.ask("a0", "a"), self.ask("a1", "a")
        await self.end("a0", ValueError("its own"))
        self.assertIsInstance(first.result(), ValueError)
        await self.end("a1")
        self.assertEqual(second.result(), "done")

    async def test_are_refused_when_too_many_wait_for_the_same(self) -> None:
        with mock.patch.object(waiters, "MAX_BEHIND", 2):
            answers = [self.ask(f"a{number}", "a") for number in range(4)]
            self.assertIsInstance(answers[3].result(), TooManyWaiting)
            self.assertFalse(any(one.done() for one in answers[:3]))
            self.ask("b", "b")
            self.assertEqual(self.at_work(), ["a0", "b"])

    async def test_are_refused_when_too_many_wait_in_all(self) -> None:
        with mock.patch.object(waiters, "MAX_WAITING", 2):
            self.ask("a0", "a")
            self.ask("a1", "a")
            self.assertIsInstance(self.ask("b", "b").result(), TooManyWaiting)
            await self.end("a0", InVain())
            self.ask("b", "b")
            self.ask("c", "c")
            self.assertEqual(self.at_work(), ["b", "c"])

    async def test_are_done_although_the_caller_has_gone_away(self) -> None:
        self.ask("a0", "a")
        self.ask("a1", "a").cancel()
        await self.end("a0")
        self.assertEqual(self.at_work(), ["a1"])
        await self.end("a1")
