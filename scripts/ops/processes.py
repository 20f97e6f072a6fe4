"""A small supervisor: starts services, prefixes their lines, restarts and stops them.

One thread and one loop, so that a child can be bound to the life of this process (the
kernel watches the thread that forked). Each service is a process group of its own:
Ctrl-C in the terminal reaches only this process, and leftovers of an ended service are
killed with its group. The module does not know what the services do.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ops import Trouble
from ops.child import Child, Service

# A service that ran this long was healthy: its next restart is fast again.
WELL_AFTER = 30.0
RESTART_DELAYS = (0.2, 1.0, 2.0, 5.0, 10.0)
# The most ends of a service before everything is up; then the start has failed.
DEATHS_WHILE_STARTING = 3


@dataclass
class _Watched:
    """A service with its present process, if any, and its record."""

    service: Service
    child: Child | None = None
    deaths: int = 0
    start_again_at: float = 0.0


class Supervisor:
    """Keeps services running until it is told to stop."""

    def __init__(self, color: bool = False) -> None:
        self.stop_signal = 0
        self.last_output_at = time.monotonic()
        self._watched: list[_Watched] = []
        self._selector = selectors.DefaultSelector()
        self._color = color
        self._is_up = False
        self._wake, wake_writer = os.pipe()
        for descriptor in (self._wake, wake_writer):
            os.set_blocking(descriptor, False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        # Any signal, also SIGCHLD, ends the wait in `_step` at once.
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._on_stop_signal)

    def _on_stop_signal(self, signum: int, _frame: object) -> None:
        self.stop_signal = self.stop_signal or signum

    def start(self, service: Service) -> None:
        """Start a service and keep it running."""
        watched = _Watched(service)
        self._watched.append(watched)
        self._spawn(watched)

    def run_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Run until `done()`, the time is over or it must stop; return whether done."""
        end = time.monotonic() + seconds
        while not self.stop_signal and time.monotonic() < end:
            if done():
                return True
            self._step(0.1)
        return False

    def run(self, must_stop: Callable[[], bool]) -> None:
        """Run until a signal or `must_stop()`; ended services are now restarted."""
        self._is_up = True
        while not self.stop_signal and not must_stop():
            self._step(1.0)

    def say(self, line: str) -> None:
        """Print a line of the supervisor."""
        self._print("make run", [line.encode()])

    def stop(self, seconds: float) -> None:
        """End everything in order and leave no process, within `seconds`.

        A service gets SIGTERM and may finish its work. At the deadline, and for
        leftovers in its group, SIGKILL.
        """
        deadline = time.monotonic() + seconds
        orders = sorted({watched.service.stop_order for watched in self._watched})
        for position, order in enumerate(orders, start=1):
            group = [w for w in self._watched if w.service.stop_order == order]
            for watched in group:
                if watched.child:
                    watched.child.ask_to_end()
            # Later services need a second of their own.
            patience = deadline - (len(orders) - position)
            while any(w.child for w in group) and time.monotonic() < patience:
                self._step(0.1, revive=False)
            for watched in group:
                if watched.child:
                    self.say(f"{watched.service.name} did not end in time: killed")
                    watched.child.kill_group()
            while any(w.child for w in group):
                self._step(0.1, revive=False)

    def _spawn(self, watched: _Watched) -> None:
        watched.child = Child(watched.service)
        self._selector.register(watched.child.output, selectors.EVENT_READ, watched)

    def _step(self, seconds: float, revive: bool = True) -> None:
        """Wait for output or signals, print, then handle ended services."""
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            elif key.data.child:
                self._print(key.data.service.name, key.data.child.lines())
        now = time.monotonic()
        for watched in self._watched:
            if watched.child and watched.child.has_ended():
                self._bury(watched, watched.child, revive)
            if revive and not watched.child and now >= watched.start_again_at:
                self._spawn(watched)

    def _bury(self, watched: _Watched, child: Child, revive: bool) -> None:
        """Handle an ended service and decide when to restart it.

        :raises Trouble: it ended too often before everything was up.
        """
        name = watched.service.name
        self._selector.unregister(child.output)
        watched.child = None
        cause, last_lines = child.bury()
        self._print(name, last_lines)
        if not revive:
            return
        lived = time.monotonic() - child.started_at
        watched.deaths = 1 if lived > WELL_AFTER else watched.deaths + 1
        if not self._is_up and watched.deaths >= DEATHS_WHILE_STARTING:
            raise Trouble(f"{name} cannot start ({cause}): its lines above tell why")
        delay = RESTART_DELAYS[min(watched.deaths, len(RESTART_DELAYS)) - 1]
        watched.start_again_at = time.monotonic() + delay
        self.say(f"{name} ended ({cause}) and is started again")

    def _print(self, name: str, lines: Iterable[bytes]) -> None:
        label = f"{name:<8} | ".encode()
        if self._color:
            number = 31 + sum(name.encode()) % 6
            label = f"\x1b[{number}m".encode() + label + b"\x1b[0m"
        for line in lines:
            self.last_output_at = time.monotonic()
            # The terminal or the reader may be gone; the services must not be affected.
            with contextlib.suppress(OSError):
                sys.stdout.buffer.write(label + line.rstrip(b"\r") + b"\n")
                sys.stdout.buffer.flush()
