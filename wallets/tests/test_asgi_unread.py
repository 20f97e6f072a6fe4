"""Answers of Django that nobody reads: they hold no place, and a bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import get_finders
from django.test import SimpleTestCase

from wallets.asgi import django as bridge
from wallets.asgi.django import DjangoApplication
from wallets.asgi.types import Message, Scope
from wallets.asgi.unread import PART_BYTES, Unread
from wallets.tests import marks

# For what is not the subject of a test, on a busy machine.
PATIENCE = 30


def scope_of(path: str) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }


def handler(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """Answer so many parts; `/announced/…` says how many bytes, `/…` does not."""
    _, kind, parts = environ["PATH_INFO"].split("/")
    length = str(int(parts) * PART_BYTES)
    announced = [("Content-Length", length)] if kind == "announced" else []
    start_response("200 OK", announced)
    return iter([b"a" * PART_BYTES] * int(parts))


class Reader:
    """A client that reads `reads` parts, and more when it is told to."""

    def __init__(self, reads: int = 0) -> None:
        self._may_read = asyncio.Semaphore(reads)
        self.started = asyncio.Event()
        self.waits = asyncio.Event()
        self.got = 0
        self.is_complete = False

    def read(self) -> None:
        """Read one more part."""
        self._may_read.release()

    async def send(self, message: Message) -> None:
        self.started.set()
        if message["type"] == "http.response.start":
            return
        if self._may_read.locked():
            self.waits.set()
        await self._may_read.acquire()
        self.waits.clear()
        self.got += len(message["body"])
        self.is_complete = not message.get("more_body", False)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(work(), PATIENCE)

    asyncio.run(within())


class UnreadAnswerTest(SimpleTestCase):
    """An answer of Django that is not read…"""

    def setUp(self) -> None:
        # One thread; bridge.MAX_WAITING requests may wait for it.
        self.django = DjangoApplication(handler, threads=1)
        self.tasks: list[asyncio.Task[None]] = []

    def ask(self, path: str, reader: Reader) -> asyncio.Task[None]:
        task = asyncio.ensure_future(
            self.django.answer(scope_of(path), b"", reader.send)
        )
        self.tasks.append(task)
        return task

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def test_holds_no_place(self) -> None:
        async def work() -> None:
            for path in ("/announced/3", "/short/1"):
                for _ in range(2 * bridge.MAX_WAITING):
                    reader = Reader()
                    task = self.ask(path, reader)
                    started = asyncio.ensure_future(reader.waits.wait())
                    await asyncio.wait(
                        {task, started}, return_when=asyncio.FIRST_COMPLETED
                    )
                    self.assertTrue(started.done(), "the answer was refused")
            honest = Reader(reads=9)
            await self.ask("/announced/3", honest)
            self.assertEqual(honest.got, 3 * PART_BYTES)
            self.assertTrue(honest.is_complete)
            self.assertEqual(self.django._bridge.in_hand, 0)
            await self.end()

        run(work)

    def test_holds_its_place_if_it_is_made_while_it_is_read(self) -> None:
        """An export must not be held as a whole."""

        async def work() -> None:
            reader = Reader()
            task = self.ask("/endless/90", reader)
            await reader.waits.wait()
            self.assertEqual(self.django._bridge.in_hand, 1)
            for _ in range(99):
                reader.read()
            await task
            self.assertEqual(reader.got, 90 * PART_BYTES)
            self.assertEqual(self.django._bridge.in_hand, 0)

        run(work)

    def test_ends_with_its_request(self) -> None:
        async def work() -> None:
            reader = Reader()
            task = self.ask("/announced/3", reader)
            await reader.waits.wait()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            while self.django._unread.held_bytes:
                await asyncio.sleep(0)

        run(work)

    def test_fails_as_its_connection_does(self) -> None:
        async def send(message: Message) -> None:
            raise ConnectionError("the client has gone")

        async def work() -> None:
            answer = self.django.answer(scope_of("/announced/3"), b"", send)
            with self.assertRaisesMessage(ConnectionError, "the client has gone"):
                await answer
            self.assertEqual(self.django._unread.held_bytes, 0)

        run(work)

    @marks.slow
    def test_is_short_if_it_is_a_file(self) -> None:
        """A longer one would hold a place while it is read."""
        for finder in get_finders():
            for name, storage in finder.list([]):
                size = Path(storage.path(name)).stat().st_size
                self.assertLessEqual(size, bridge.MAX_KEPT_BYTES, name)


class MemoryTest(SimpleTestCase):
    """Of more unread bytes than may be held…"""

    def setUp(self) -> None:
        self.unread = Unread(most_bytes=6 * PART_BYTES)
        self.readers: list[Reader] = []
        self.bodies: list[bytearray] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def answer(self, parts: int = 3, reads: int = 0) -> None:
        """Begin an answer that its reader does not read to the end."""
        reader = Reader(reads)
        self.readers.append(reader)
        start: Message = {"type": "http.response.start", "status": 200, "headers": []}
        body = bytearray(parts * PART_BYTES)
        self.bodies.append(body)
        sending = asyncio.ensure_future(self.unread.send(start, body, reader.send))
        self.tasks.append(sending)
        await reader.waits.wait()

    async def ended(self) -> list[bool]:
        """Return of each answer whether it has ended."""
        for _ in range(9):
            await asyncio.sleep(0)
        return [task.done() for task in self.tasks]

    async def read_all(self) -> None:
        for reader in self.readers:
            for _ in range(9):
                reader.read()
        await asyncio.gather(*self.tasks)

    def test_the_answer_that_waits_longest_is_cut_off(self) -> None:
        async def work() -> None:
            for _ in range(4):
                await self.answer()
                self.assertLessEqual(self.unread.held_bytes, 6 * PART_BYTES)
            self.assertEqual(await self.ended(), [True, True, False, False])
            # Also where a traceback still refers to them.
            held = [len(body) // PART_BYTES for body in self.bodies]
            self.assertEqual(held, [0, 0, 3, 3])
            await self.read_all()
            complete = [reader.is_complete for reader in self.readers]
            self.assertEqual(complete, [False, False, True, True])
            self.assertEqual(self.unread.held_bytes, 0)

        run(work)

    def test_an_answer_that_is_being_read_is_not_cut_off(self) -> None:
        async def work() -> None:
            await self.answer(parts=4)
            await self.answer(parts=2)
            self.readers[0].read()
            while self.readers[0].got == 0 or not self.readers[0].waits.is_set():
                await asyncio.sleep(0)
            await self.answer(parts=2)
            self.assertEqual(await self.ended(), [False, True, False])
            await self.read_all()

        run(work)

    def test_none_is_cut_off_for_a_small_one_while_there_is_room(self) -> None:
        async def work() -> None:
            await self.answer(parts=5)
            await self.answer(parts=1)
            self.assertEqual(await self.ended(), [False, False])
            await self.read_all()

        run(work)
