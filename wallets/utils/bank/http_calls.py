"""Concurrent HTTP calls in one thread, each with one deadline.

A call has two stages: connecting, and sending. After sending has begun, nothing proves
that nothing was sent. The result of a call says which stage it reached.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from wallets.utils import clock
from wallets.utils.bank.connections import Connection, NotSent
from wallets.utils.bank.http_exchange import BadAnswer, Exchange, HttpAnswer

# A server may close an idle connection at any time, and a request that is sent at that
# moment has an unknown outcome. A connection that was idle for this long is not used
# again.
MAX_IDLE_SECONDS = 1.0

T = TypeVar("T")
Connect = Callable[[], Awaitable[Connection]]
Result = HttpAnswer | Exception
# Returns the caller's meaning of a result, and whether the connection may be used
# again: only if nothing on it could be taken for the next call's answer. The second
# argument is the time of sending (`clock.elapsed`), or None if nothing was sent.
Read = Callable[[Result, float | None], tuple[T, bool]]


class DeadlineOver(Exception):
    """The call's deadline passed after sending had begun."""


@dataclass(eq=False)
class _Call:
    """One call: waits for its turn, connects, sends, ends."""

    exchange: Exchange
    read: Read[Any]
    send_before: float
    # How to connect for this call alone; None: as the `Caller` does.
    connect: Connect | None = None
    future: Future[Any] = field(default_factory=Future)
    ends: float = 0.0
    connection: Connection | None = None
    sent_at: float | None = None


class Caller(Generic[T]):
    """Sends requests and returns futures; at most `size` calls run at a time.

    `connect` opens a connection; connections are used again. Without it each call must
    have its own. `read` gets the answer; or `NotSent` if certainly nothing was sent; or another
    exception if that is unknown. It runs in the event loop's thread and must be fast.
    Thread-safe; each process has a thread of its own.
    """

    def __init__(
        self, connect: Connect | None = None, *, deadline: float, size: int
    ) -> None:
        self._connect = connect
        self._deadline = deadline
        self._size = size
        self._lock = threading.Lock()
        self._loop: _Loop | None = None

    def submit(
        self,
        exchange: Exchange,
        read: Read[T],
        *,
        send_before: float,
        connect: Connect | None = None,
    ) -> Future[T]:
        """Send the request, unless `send_before` (`clock.elapsed`) has passed.

        With `connect` the call has a connection of its own, which is closed after it.
        The future can be cancelled until the first byte is sent, and not after that.
        """
        call = _Call(exchange, read, send_before, connect)
        with self._lock:
            if self._loop is None or not self._loop.runs_here():
                self._loop = _Loop(self._connect, self._deadline, self._size)
            self._loop.hand_in(call)
        return call.future


class _Loop:
    """The event loop's thread. Other threads use only `hand_in` and `runs_here`."""

    def __init__(self, connect: Connect | None, deadline: float, size: int) -> None:
        self._connect = connect
        self._deadline = deadline
        self._size = size
        self._pid = os.getpid()
        self._dead = False
        self._rung = False  # whether `_take` is scheduled
        self._handed_in: deque[_Call] = deque()
        # In the order of their deadlines.
        self._under_way: dict[_Call, asyncio.Task[None]] = {}
        self._at_rest: list[tuple[float, Connection]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.new_event_loop()
        # Name resolution blocks: one thread for each call, so that no call waits for
        # another.
        self._loop.set_default_executor(ThreadPoolExecutor(size, "names"))
        self._thread = threading.Thread(target=self._run, name="calls", daemon=True)
        self._thread.start()

    def runs_here(self) -> bool:
        """Whether the thread is alive; it does not survive a fork."""
        return self._pid == os.getpid() and not self._dead

    def hand_in(self, call: _Call) -> None:
        self._handed_in.append(call)
        if self._dead:
            self._give_up()  # the thread has ended, and may not have seen this call
        elif not self._rung:
            self._rung = True  # once for all calls that come meanwhile
            self._loop.call_soon_threadsafe(self._take)

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            # After a bug all callers must get an exception; sent calls stay unknown.
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
                call.future.set_exception(
                    RuntimeError("the thread of the calls has ended")
                )

    def _take(self) -> None:
        self._rung = False
        self._cut_overdue()
        self._begin()

    def _begin(self) -> None:
        while self._handed_in and len(self._under_way) < self._size and not self._dead:
            call = self._handed_in.popleft()
            if call.future.cancelled():
                continue
            call.ends = clock.elapsed() + self._deadline
            self._under_way[call] = self._loop.create_task(self._make(call))
        self._cut_overdue()

    async def _make(self, call: _Call) -> None:
        keep = False
        try:
            result = await self._result(call)
            told, safe = call.read(result, call.sent_at)
            keep = safe and isinstance(result, HttpAnswer) and result.keep
            keep = keep and call.connect is None
            if call.connection is not None and call.connection.reused and not safe:
                self._close_resting()  # the others may be no better
            with suppress(InvalidStateError):  # it was cancelled, and not sent
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
        connection = await self._quiet_connection(call)
        now = clock.elapsed()
        late = now >= call.send_before or now >= call.ends
        if late or not call.future.set_running_or_notify_cancel():
            self._leave(connection, keep=call.connect is None)
            raise NotSent("the sender came too late for its lease")
        # After this point bytes may have left: nothing proves "not sent" any more.
        call.connection, call.sent_at = connection, now
        connection.send(call.exchange.message)
        while True:
            answer = call.exchange.feed(await connection.read())
            if answer is not None and connection.unsent:
                raise BadAnswer("an answer before the whole request was sent")
            if answer is not None:
                return replace(answer, reused=connection.reused)
            self._cut_overdue()

    async def _quiet_connection(self, call: _Call) -> Connection:
        """Return a connection without unrequested bytes.

        :raises NotSent: there is none.
        """
        while call.connect is None and self._at_rest:
            since, connection = self._at_rest.pop()
            await asyncio.sleep(0)  # let bytes that have come be received
            fresh = clock.elapsed() - since < MAX_IDLE_SECONDS
            if fresh and connection.is_quiet():
                return connection
            connection.close()
        connect = call.connect or self._connect
        if connect is None:
            raise NotSent("the call says not how to connect")
        connection = await connect()
        if not connection.is_quiet():
            # Bytes that came before our request are no answer to it.
            connection.close()
            raise NotSent("the server sent bytes, or closed, before the request")
        return connection

    def _leave(self, connection: Connection, *, keep: bool) -> None:
        if keep:
            connection.rest()
            self._at_rest.append((clock.elapsed(), connection))
        else:
            connection.close()

    def _close_resting(self) -> None:
        while self._at_rest:
            self._at_rest.pop()[1].close()

    def _cut_overdue(self) -> None:
        """Cancel the calls whose deadline has passed; set a timer for the next one."""
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
