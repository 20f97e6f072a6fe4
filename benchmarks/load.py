"""A load generator: as many requests as the server answers, on kept connections.

It shares the machine with the server, so it does as little work as possible: one
thread, raw sockets, and requests that are prepared before the measurement. A request
costs about as much as in a load generator written in C, and every request costs the
same.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

SECONDS_TO_ANSWER = 30
# Most answers are smaller. For a much larger buffer the kernel would map memory at each
# read.
READ_BYTES = 65_536


class LoadError(Exception):
    """The server's answer was not the expected one; the message contains it."""


@dataclass
class Load:
    """The number of answers and their latencies. Loads of one kind may be added.

    `cpu` is the CPU time, in seconds, of all programs under test together.
    """

    done: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The number of things that were done a second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU for each; 0 if they were not measured."""
        return 1e6 * self.cpu / self.done if self.done else 0.0

    def quantile(self, share: float) -> float:
        """Return this quantile of the latencies, in milliseconds."""
        if not self.latencies:
            return 0.0
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __iadd__(self, other: Load) -> Load:
        self.done += other.done
        self.seconds += other.seconds
        self.cpu += other.cpu
        self.latencies += other.latencies
        return self


class Client(Protocol):
    """One connection, with at most one request at a time."""

    sock: socket.socket

    def send(self, message: Any) -> None:
        """Send a request."""

    def receive(self) -> bool:
        """Read the bytes that have arrived; return whether the answer is complete.

        :raises LoadError: the answer is not the expected one.
        """


class HttpClient:
    """A client of the server on this port.

    Every answer must have the `status`, and contain the text `row` `rows` times.
    """

    def __init__(
        self, port: int, status: int = 200, row: bytes = b"", rows: int = 0
    ) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), SECONDS_TO_ANSWER)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send = self.sock.sendall
        self._begins = f"HTTP/1.1 {status} ".encode()
        self._row, self._rows = row, rows
        self._received = b""

    def receive(self) -> bool:
        """See `Client.receive`."""
        data = self.sock.recv(READ_BYTES)
        if not data:
            raise LoadError(f"the connection was closed: {self._received[:1000]!r}")
        data = self._received + data
        head, whole, body = data.partition(b"\r\n\r\n")
        if not data.startswith(self._begins):
            raise LoadError(f"not {self._begins!r}: {data[:1000]!r}")
        _, _, length = head.lower().partition(b"\r\ncontent-length: ")
        if not whole or len(body) < int(length.partition(b"\r")[0]):
            self._received = data
            return False
        self._received = b""
        if self._row and body.count(self._row) != self._rows:
            raise LoadError(f"not {self._rows} times {self._row!r}: {data[:2000]!r}")
        return True


def drive(
    clients: Sequence[Client],
    requests: Iterator[Any],
    *,
    seconds: float = float("inf"),
    worth: int = 1,
) -> Load:
    """Send requests until the time is over or none is left; wait for the answers.

    Each request counts `worth` times. The connections are closed at the end.

    :raises LoadError: an answer is not the expected one.
    """
    load = Load()
    poll = select.epoll()
    by_number = {client.sock.fileno(): client for client in clients}
    sent_at: dict[int, float] = {}
    clock, took = time.perf_counter, load.latencies.append
    began = clock()
    try:
        for number, client in by_number.items():
            poll.register(number, select.EPOLLIN)
            if (message := next(requests, None)) is not None:
                sent_at[number] = clock()
                client.send(message)
        while sent_at:
            for number in _ready(poll):
                client = by_number[number]
                if not client.receive():
                    continue
                now = clock()
                took(now - sent_at.pop(number))
                if now - began < seconds and (message := next(requests, None)):
                    sent_at[number] = now
                    client.send(message)
    finally:
        poll.close()
        for client in clients:
            client.sock.close()
    load.seconds = clock() - began
    load.done = worth * len(load.latencies)
    return load


def _ready(poll: select.epoll) -> list[int]:
    ready = [number for number, _ in poll.poll(SECONDS_TO_ANSWER)]
    if not ready:
        raise LoadError(f"no answer for {SECONDS_TO_ANSWER} s")
    return ready


def http_post(path: str, body: bytes, *headers: str) -> bytes:
    """Return the bytes of a POST of JSON."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def http_get(path: str) -> bytes:
    """Return the bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
