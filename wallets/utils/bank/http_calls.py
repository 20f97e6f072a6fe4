"""Many HTTP calls at once, in one thread, each under a deadline for the whole of it.

A call has two stages: connecting, and sending, after which nothing proves any more that
nothing was sent. What a call came to says which of them it had reached.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from wallets.utils import clock
from wallets.utils.bank.connections import Connection, NotSent
from wallets.utils.bank.http_exchange import BadAnswer, Exchange, HttpAnswer

# A server closes an idle connection at a moment of its own choice, and the outcome of
# what is sent into that moment is unknown: one that idled this long is not used again.
MAX_IDLE_SECONDS = 1.0

T = TypeVar("T")
Connect = Callable[[], Awaitable[Connection]]
Result = HttpAnswer | Exception
# What a result means to the caller, and whether its connection may serve another call:
# only when nothing can come on it that would be taken for the next one's answer.
# The second argument is when it was sent, by `clock.elapsed`; None when it was not.
Read = Callable[[Result, float | None], tuple[T, bool]]


class DeadlineOver(Exception):
    """The call's time is over, and it was sent."""


@dataclass(eq=False)
class _Call:
    """One call: waits for its turn, connects, is sent, ends."""

    exchange: Exchange
    read: Read[Any]
    send_before: float
    future: Future[Any] = field(default_factory=Future)
    ends: float = 0.0
    connection: Connection | None = None
    sent_at: float | None = None


class Caller(Generic[T]):
    """Sends requests and answers each with a future; at most `size` are under way at once.

    `read` is given the answer; or `NotSent` when certainly nothing was sent; or any other
    error, when that is not known. It runs in the one thread and must be quick. Safe to use
    from every thread; each process has a thread of its own.
    """

    def __init__(self, connect: Connect, *, deadline: float, size: int) -> None:
        self._connect = connect
        self._deadline = deadline
        self._size = size
        self._lock = threading.Lock()
        self._loop: _Loop | None = None

    def submit(
        self, exchange: Exchange, read: Read[T], *, send_before: float
    ) -> Future[T]:
        """Send the request, unless `send_before` (of `clock.elapsed`) has passed."""
        call = _Call(exchange, read, send_before)
        with self._lock:
            if self._loop is None or not self._loop.runs_here():
                self._loop = _Loop(self._connect, self._deadline, self._size)
            self._loop.hand_in(call)
        return call.future


class _Loop:
    """The thread and what only it touches; others use `hand_in` and `runs_here`."""

    def __init__(self, connect: Connect, deadline: float, size: int) -> None:
        self._connect = connect
        self._deadline = deadline
        self._size = size
        self._pid = os.getpid()
        self._dead = False
        self._rung = False  # it will look at what was handed in
        self._handed_in: deque[_Call] = deque()
        # In the order of their deadlines.
        self._under_way: dict[_Call, asyncio.Task[None]] = {}
        self._at_rest: list[tuple[float, Connection]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.new_event_loop()
        # The look-up of a name blocks: nobody's waits for another one's.
        self._loop.set_default_executor(ThreadPoolExecutor(size, "bank-names"))
        self._thread = threading.Thread(target=self._run, name="bank", daemon=True)
        self._thread.start()

    def runs_here(self) -> bool:
        """Whether the thread lives; it does not survive a fork."""
        return self._pid == os.getpid() and not self._dead

    def hand_in(self, call: _Call) -> None:
        self._handed_in.append(call)
        if self._dead:
            self._give_up()  # it died meanwhile, and may not have seen this one
        elif not self._rung:
            self._rung = True  # once for all that are handed in meanwhile
            self._loop.call_soon_threadsafe(self._take)

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            # A bug: whoever waits must hear of it, and what was sent stays unknown.
            self._dead = True
            try:
                self._loop.run_until_complete(self._end_all())
            finally:
                self._give_up()
                self._loop.close()

    async def _end_all(self) -> None:
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _give_up(self) -> None:
        for call in [*self._under_way, *self._handed_in]:
            with suppress(InvalidStateError):
                call.future.set_exception(RuntimeError("the bank's thread has ended"))

    def _take(self) -> None:
        self._rung = False
        self._cut_overdue()
        self._begin()

    def _begin(self) -> None:
        while self._handed_in and len(self._under_way) < self._size and not self._dead:
            call = self._handed_in.popleft()
            call.ends = clock.elapsed() + self._deadline
            self._under_way[call] = self._loop.create_task(self._make(call))
        self._cut_overdue()

    async def _make(self, call: _Call) -> None:
        keep = False
        try:
            result = await self._result(call)
            told, safe = call.read(result, call.sent_at)
            keep = safe and isinstance(result, HttpAnswer) and result.keep
            call.future.set_result(told)
        except Exception as bug:
            call.future.set_exception(bug)
            raise
        finally:
            if call.connection is not None:
                self._leave(call.connection, keep=keep)
            self._under_way.pop(call, None)
            self._begin()

    async def _result(self, call: _Call) -> Result:
        try:
            return await self._call(call)
        except (NotSent, BadAnswer, OSError) as error:
            return error
        except asyncio.CancelledError:
            if call.sent_at is None:
                return NotSent("no connection in time")
            return DeadlineOver()

    async def _call(self, call: _Call) -> HttpAnswer:
        connection = await self._quiet_connection()
        now = clock.elapsed()
        if now >= call.send_before or now >= call.ends:
            self._leave(connection, keep=True)
            raise NotSent("the sender came too late for its lease")
        # After this point bytes may have left: nothing proves "not sent" any more.
        call.connection, call.sent_at = connection, now
        connection.send(call.exchange.message)
        while True:
            answer = call.exchange.feed(await connection.read())
            if answer is not None and connection.unsent:
                raise BadAnswer("an answer before the whole question had left")
            if answer is not None:
                return answer
            self._cut_overdue()

    async def _quiet_connection(self) -> Connection:
        """One on which nothing has come that nobody asked for.

        :raises NotSent: there is none.
        """
        while self._at_rest:
            since, connection = self._at_rest.pop()
            await asyncio.sleep(0)  # what has come meanwhile is heard
            fresh = clock.elapsed() - since < MAX_IDLE_SECONDS
            if fresh and connection.is_quiet():
                return connection
            connection.close()
        connection = await self._connect()
        if not connection.is_quiet():
            # What came before we asked answers no question of ours, whatever it says.
            connection.close()
            raise NotSent("it spoke, or left, before it was asked")
        return connection

    def _leave(self, connection: Connection, *, keep: bool) -> None:
        if keep:
            connection.rest()
            self._at_rest.append((clock.elapsed(), connection))
        else:
            connection.close()

    def _cut_overdue(self) -> None:
        """End the calls whose time is over, and look again when the next one's is."""
        now = clock.elapsed()
        while self._under_way:
            call, task = next(iter(self._under_way.items()))
            if call.ends > now:
                if self._timer is None:
                    self._timer = self._loop.call_later(call.ends - now, self._look)
                return
            del self._under_way[call]
            task.cancel()

    def _look(self) -> None:
        self._timer = None
        self._cut_overdue()
