"""Processes that a drill starts, hurts and ends.

No process may be left behind. Each is a session of its own and is killed as a group,
and the kernel kills its leader when the drill ends, however that happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


_given: set[int] = set()


def free_port() -> int:
    """Return a free loopback port, never the same one twice.

    The system may name a port again before the first one that got it listens there.
    """
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


def listens(port: int) -> bool:
    """Whether a process accepts connections on this loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(
    done: Callable[[], bool], *, seconds: float, what: str, poll: float = 0.05
) -> float:
    """Wait for a condition; return how long it took (seconds).

    :raises TimeoutError: it did not become true.
    """
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"after {seconds:g} s still waiting: {what}")
        time.sleep(poll)
    return time.monotonic() - began


def children_of(pid: int) -> list[int]:
    """Return the living children of a process."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def send(pid: int, signum: int) -> bool:
    """Send a signal; return whether the process existed."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


class Process:
    """A program that can be started several times, one process at a time.

    Start it from the main thread: the kernel kills it when the thread that forked ends.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path = ROOT,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._env = dict(env)
        self._cwd = cwd
        self._user = user
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_began = 0  # where the log of this start begins

    @property
    def pid(self) -> int:
        """The process id.

        :raises RuntimeError: it was never started.
        """
        if self._popen is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Start it; first kill what the last process left behind."""
        self.kill()
        parent = os.getpid()

        def prepare() -> None:
            if _libc is not None:
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the call above
                os._exit(1)

        with self.log.open("ab") as output:
            self._log_began = output.tell()
            self._popen = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
                preexec_fn=prepare,
            )

    def wait(self, patience: float) -> bool:
        """Wait until it ends by itself; return whether it did."""
        if self._popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout=patience)
        return not self.alive

    def signal(self, signum: int) -> None:
        """Send a signal to the leader only."""
        if self.alive:
            send(self.pid, signum)

    def freeze(self) -> None:
        """Stop the whole group, like a machine that hangs."""
        self._signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the group."""
        self._signal_group(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the whole group, and wait for the leader's end."""
        if self._popen is not None:
            self._signal_group(signal.SIGKILL)
            self._popen.wait(timeout=10)

    def end(self, patience: float = 10) -> bool:
        """Ask it to end, then kill it; return whether it ended by itself."""
        if self._popen is None:
            return True
        self.thaw()
        self.signal(signal.SIGTERM)
        by_itself = self.wait(patience)
        self.kill()
        return by_itself

    def _signal_group(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._popen is not None:
                os.killpg(self._popen.pid, signum)

    def said(self, text: str) -> bool:
        """Whether it has logged this text since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_began)
            return text.encode() in log.read()
