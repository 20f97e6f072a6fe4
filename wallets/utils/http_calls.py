"""Many HTTP calls at once, in one thread, each under a deadline for the whole of it.

A thread for each call made them queue for the interpreter's lock; here one thread watches
all sockets. A call has two stages: connecting, which a few threads do because the look-up
of a name blocks, and sending, after which nothing proves any more that nothing was sent.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from wallets.utils import clock
from wallets.utils.connections import Connection, NotSent
from wallets.utils.http_answer import BadAnswer, HttpAnswer

# A server closes an idle connection at a moment of its own choice, and the outcome of
# what is sent into that moment is unknown: one that idled this long is not used again.
MAX_IDLE_SECONDS = 1.0

T = TypeVar("T")
Result = HttpAnswer | Exception
# What a result means to the caller, and whether its connection may serve another call:
# only when nothing can come on it that would be taken for the next one's answer.
# The second argument is when it was sent, by `clock.elapsed`; None when it was not.
Read = Callable[[Result, float | None], tuple[T, bool]]


class DeadlineOver(Exception):
    """The call's time is over, and it was sent."""


@dataclass
class _Call:
    """One call: waits, connects, is sent, ends."""

    message: bytes
    read: Read[Any]
    send_before: float
    future: Future[Any] = field(default_factory=Future)
    ends: float = 0.0
    connection: Connection | None = None
    sent_at: float | None = None


class Caller(Generic[T]):
    """Sends calls and answers each with a future; at most `size` are under way at once.

    `read` is given the answer; or `NotSent` when certainly nothing was sent; or any other
    error, when that is not known. It runs in the one thread and must be quick. Safe to use
    from every thread; each process has a thread of its own.
    """

    def __init__(
        self, connect: Callable[[], Connection], *, deadline: float, size: int
    ) -> None:
        self._open = connect
        self._deadline = deadline
        self._size = size
        self._lock = threading.Lock()
        self._loop: _Loop | None = None

    def submit(self, message: bytes, read: Read[T], *, send_before: float) -> Future[T]:
        """Send the message, unless `send_before` (of `clock.elapsed`) has passed."""
        call = _Call(message, read, send_before)
        with self._lock:
            if self._loop is None or not self._loop.runs_here():
                self._loop = _Loop(self._open, self._deadline, self._size)
            self._loop.hand_in(call)
        return call.future


class _Loop:
    """The thread and what only it touches; others use `hand_in` and `runs_here`."""

    def __init__(
        self, connect: Callable[[], Connection], deadline: float, size: int
    ) -> None:
        self._open = connect
        self._deadline = deadline
        self._size = size
        self._pid = os.getpid()
        self._error: BaseException | None = None  # what the thread died of
        self._selector = selectors.DefaultSelector()
        self._waking, self._wake = socket.socketpair()
        for end in (self._waking, self._wake):
            end.setblocking(False)
        self._selector.register(self._waking, selectors.EVENT_READ)
        self._handed_in: deque[_Call] = deque()
        self._connected: deque[tuple[_Call, Connection | NotSent]] = deque()
        self._idle: dict[int, tuple[float, Connection]] = {}
        self._flying: dict[int, _Call] = {}  # in the order of their deadlines
        self._connectors = ThreadPoolExecutor(size, thread_name_prefix="bank-connect")
        self._thread = threading.Thread(target=self._run, name="bank", daemon=True)
        self._thread.start()

    def runs_here(self) -> bool:
        """Whether the thread lives; it does not survive a fork."""
        here = self._pid == os.getpid()
        return here and self._error is None and self._thread.is_alive()

    def hand_in(self, call: _Call) -> None:
        self._handed_in.append(call)
        self._ring()
        if self._error is not None:
            self._give_up()  # it died meanwhile, and may not have seen this one

    def _ring(self) -> None:
        with suppress(BlockingIOError):
            self._wake.send(b".")

    def _run(self) -> None:
        try:
            while True:
                self._turn()
        except BaseException as error:
            # A bug: whoever waits must hear of it, and what was sent stays unknown.
            self._error = error
            self._give_up()
            raise

    def _give_up(self) -> None:
        for call in [*self._flying.values(), *self._handed_in]:
            with suppress(InvalidStateError):
                call.future.set_exception(self._error)

    def _turn(self) -> None:
        first = next(iter(self._flying.values()), None)
        wait = None if first is None else max(0.0, first.ends - clock.elapsed())
        for key, events in self._selector.select(wait):
            if key.fileobj is self._waking:
                self._waking.recv(4096)
            elif key.data is None:
                # Its end, or an answer to nothing: it is not used again.
                self._discard(self._idle.pop(key.fd)[1])
            else:
                self._go_on(key.data, events)
        while self._connected:
            self._connection_made(*self._connected.popleft())
        self._cut_overdue()
        # Last: while a call waits for its turn, one is under way whose end wakes us.
        while self._handed_in and len(self._flying) < self._size:
            self._begin(self._handed_in.popleft())

    def _begin(self, call: _Call) -> None:
        call.ends = clock.elapsed() + self._deadline
        self._flying[id(call)] = call
        while self._idle:
            _, (since, connection) = self._idle.popitem()
            fresh = clock.elapsed() - since < MAX_IDLE_SECONDS
            if fresh and connection.is_quiet():
                self._send(call, connection)
                return
            self._discard(connection)
        self._connectors.submit(self._connect, call)

    def _connect(self, call: _Call) -> None:
        """In a thread of the connectors: the first stage."""
        try:
            self._connected.append((call, self._open()))
        except NotSent as error:
            self._connected.append((call, error))
        self._ring()

    def _connection_made(self, call: _Call, made: Connection | NotSent) -> None:
        if isinstance(made, NotSent):
            self._end(call, made)
            return
        if not made.is_quiet():
            # What came before we asked answers no question of ours, whatever it says.
            made.close()
            self._end(call, NotSent("it spoke, or left, before it was asked"))
            return
        self._selector.register(made.fileno(), selectors.EVENT_READ)
        self._send(call, made)

    def _send(self, call: _Call, connection: Connection) -> None:
        now = clock.elapsed()
        if now >= call.send_before or now >= call.ends or call.future.done():
            self._rest(connection)
            self._end(call, NotSent("the sender came too late for its lease"))
            return
        call.connection, call.sent_at = connection, now
        events = selectors.EVENT_READ | selectors.EVENT_WRITE
        try:
            # After this point bytes may have left: nothing proves "not sent" any more.
            connection.request(call.message)
            if not connection.unsent:
                events = selectors.EVENT_READ
            self._selector.modify(connection.fileno(), events, call)
        except OSError as error:
            self._end(call, error)

    def _go_on(self, call: _Call, events: int) -> None:
        connection = call.connection
        if connection is None:
            return  # it has ended in this turn
        try:
            if events & selectors.EVENT_WRITE:
                connection.send()
                if not connection.unsent:
                    self._selector.modify(
                        connection.fileno(), selectors.EVENT_READ, call
                    )
            if events & selectors.EVENT_READ:
                answer = connection.receive()
                if answer is not None and connection.unsent:
                    raise BadAnswer("an answer before the whole question had left")
                if answer is not None:
                    self._end(call, answer)
        except (BadAnswer, OSError) as error:
            self._end(call, error)

    def _end(self, call: _Call, result: Result) -> None:
        """Tell the result. Its connection rests, or is closed if that is in doubt."""
        if self._flying.pop(id(call), None) is None:
            return  # it has ended before
        told, keep = call.read(result, call.sent_at)
        if call.connection is not None:
            whole = isinstance(result, HttpAnswer) and result.keep
            if keep and whole:
                self._rest(call.connection)
            else:
                self._discard(call.connection)
        call.future.set_result(told)

    def _cut_overdue(self) -> None:
        now = clock.elapsed()
        while self._flying:
            call = next(iter(self._flying.values()))
            if call.ends > now:
                return
            if call.connection is None:
                self._end(call, NotSent("connecting took all of the deadline"))
            else:
                self._end(call, DeadlineOver())

    def _rest(self, connection: Connection) -> None:
        self._selector.modify(connection.fileno(), selectors.EVENT_READ, None)
        self._idle[connection.fileno()] = (clock.elapsed(), connection)

    def _discard(self, connection: Connection) -> None:
        self._selector.unregister(connection.fileno())
        connection.close()
