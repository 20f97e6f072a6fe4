"""Many hostile connections in one thread: what they send, and what they get.

It runs in its own process, apart from the honest client.
"""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import time
from collections import Counter
from dataclasses import dataclass, field

# New connections a second; without a limit the machine would be measured.
A_SECOND = 1000


@dataclass(frozen=True)
class Script:
    """The behaviour of a connection: send `first`, then `drip` every `pause` seconds.

    `share`: the part of the connections that do it.
    """

    first: bytes = b""
    drip: bytes = b""
    pause: float = 0.0
    reads: bool = True
    share: float = 1.0


@dataclass
class Outcome:
    """The result of an attack: how many were closed, refused or served, and when."""

    opened: int = 0
    unopened: int = 0
    cut: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    received: int = 0

    def text(self) -> str:
        """Return the result for a cell of a table."""
        answers = ", ".join(
            f"{count} of {status}" for status, count in sorted(self.answers.items())
        )
        parts = [f"{self.opened} opened"]
        if self.unopened:
            parts.append(f"{self.unopened} not taken")
        if answers:
            parts.append(answers)
        if self.cut:
            cut = sorted(self.cut)
            parts.append(
                f"{len(cut)} cut after {cut[0]:.1f} to {cut[-1]:.1f} s"
                f" (median {cut[len(cut) // 2]:.1f})"
            )
        else:
            parts.append("none cut")
        return "; ".join(parts)


@dataclass(eq=False)
class _One:
    sock: socket.socket
    began: float
    next_drip: float
    connected: bool = False
    answered: bool = False


class Connections:
    """Connections that follow the script until `seconds` are over."""

    def __init__(self, port: int, script: Script, count: int, seconds: float) -> None:
        self._port, self._script, self._count = port, script, count
        self._ends = time.monotonic() + seconds
        self._selector = selectors.DefaultSelector()
        self._all: set[_One] = set()
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Attack; close everything at the end."""
        began = time.monotonic()
        tried = 0
        while (now := time.monotonic()) < self._ends:
            while tried < min(self._count, (now - began) * A_SECOND):
                self._open()
                tried += 1
            for key, mask in self._selector.select(0.01):
                self._serve(key.data, mask)
            if self._script.drip:
                self._drip_all()
        for one in list(self._all):
            self.outcome.unopened += not one.connected
            self._forget(one)
        return self.outcome

    def _open(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        if not self._script.reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        now = time.monotonic()
        one = _One(sock, now, now + self._script.pause)
        try:
            sock.connect_ex(("127.0.0.1", self._port))
        except OSError:
            self.outcome.unopened += 1
            sock.close()
            return
        self._all.add(one)
        self._selector.register(sock, selectors.EVENT_WRITE, one)

    def _serve(self, one: _One, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE and not one.connected:
                one.connected = True
                self.outcome.opened += 1
                if self._script.first:
                    one.sock.send(self._script.first)
                if self._script.reads:
                    self._selector.modify(one.sock, selectors.EVENT_READ, one)
                else:
                    self._selector.unregister(one.sock)
            if mask & selectors.EVENT_READ:
                self._read(one)
        except OSError:
            self._cut(one)

    def _read(self, one: _One) -> None:
        data = one.sock.recv(65536)
        self.outcome.received += len(data)
        if not data:
            self._cut(one)
        elif not one.answered:
            one.answered = True
            self.outcome.answers[data[9:12].decode("latin-1")] += 1

    def _drip_all(self) -> None:
        now = time.monotonic()
        for one in list(self._all):
            if not one.connected or now < one.next_drip:
                continue
            one.next_drip = now + self._script.pause
            with contextlib.suppress(BlockingIOError):
                try:
                    one.sock.send(self._script.drip)
                except BlockingIOError:
                    raise
                except OSError:
                    self._cut(one)

    def _cut(self, one: _One) -> None:
        self.outcome.cut.append(time.monotonic() - one.began)
        self._forget(one)

    def _forget(self, one: _One) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(one.sock)
        one.sock.close()
        self._all.discard(one)


def allow_many_files(count: int) -> None:
    """Raise this process's limit of open files, as far as allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 100
    if soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
