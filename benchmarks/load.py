"""Loads an HTTP server: as many requests as it answers, over kept-alive connections.

It shares the machine with what it measures, so it does as little as can be: one thread,
raw sockets, requests that are ready to be sent.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

SECONDS_TO_ANSWER = 30


class LoadError(Exception):
    """The server did not answer as it must; the message has what came."""


@dataclass
class Load:
    """What was answered, and how fast. A second part of the same may be added."""

    done: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Done a second."""
        return self.done / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """The latency, in milliseconds, that this share of the requests kept below."""
        if not self.latencies:
            return 0.0
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __iadd__(self, other: Load) -> Load:
        self.done += other.done
        self.seconds += other.seconds
        self.latencies += other.latencies
        return self


class _Connection:
    """One client: sends its next request when the last one is answered."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), SECONDS_TO_ANSWER)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self._received = b""

    def send(self, message: bytes) -> None:
        self._received = b""
        self.began = time.perf_counter()
        self.sock.sendall(message)

    def receive(self) -> bytes | None:
        """Return the answer's body once it is whole.

        :raises LoadError: for any answer but 200 and 201.
        """
        data = self.sock.recv(1 << 20)
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            if not data:
                raise LoadError(f"the connection was closed: {self._received[:300]!r}")
            return None
        if head[9:12] not in (b"200", b"201"):
            raise LoadError(self._received[:1000].decode(errors="replace"))
        _, _, rest = head.lower().partition(b"\r\ncontent-length: ")
        return body if len(body) >= int(rest.partition(b"\r\n")[0]) else None


def drive(
    port: int,
    request: Callable[[], bytes],
    *,
    connections: int,
    seconds: float = float("inf"),
    requests: float = float("inf"),
    items: Callable[[bytes], int] = lambda _body: 1,
) -> Load:
    """Send requests until the time is over or so many are sent; wait for the answers.

    `items` says how much an answer's body tells to be done.

    :raises LoadError: when one request is not done.
    """
    load = Load()
    poll = select.epoll()
    clients = {}
    began = time.perf_counter()
    sent = 0
    try:
        while sent < min(connections, requests):
            client = _Connection(port)
            clients[client.sock.fileno()] = client
            poll.register(client.sock, select.EPOLLIN)
            client.send(request())
            sent += 1
        waiting = len(clients)
        while waiting:
            for number in _ready(poll):
                client = clients[number]
                body = client.receive()
                if body is None:
                    continue
                now = time.perf_counter()
                load.latencies.append(now - client.began)
                load.done += items(body)
                if sent < requests and now - began < seconds:
                    client.send(request())
                    sent += 1
                else:
                    waiting -= 1
    finally:
        poll.close()
        for client in clients.values():
            client.sock.close()
    load.seconds = time.perf_counter() - began
    return load


def _ready(poll: select.epoll) -> list[int]:
    ready = [number for number, _ in poll.poll(SECONDS_TO_ANSWER)]
    if not ready:
        raise LoadError(f"no answer for {SECONDS_TO_ANSWER} s")
    return ready


def http_post(path: str, body: bytes, *headers: str) -> bytes:
    """A whole POST of JSON, ready to be sent."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def http_get(path: str) -> bytes:
    """A whole GET, ready to be sent."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
