"""One process of a service: its group, and its output lines."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops import ROOT
from ops.steps import dies_with_parent

LONGEST_LINE = 64 * 1024


@dataclass(frozen=True)
class Service:
    """A process to keep running. A lower `stop_order` is stopped first."""

    name: str
    command: list[str]
    env: dict[str, str]
    stop_order: int
    folder: Path = ROOT


class Child:
    """A running process in a session of its own, so that Ctrl-C does not reach it."""

    def __init__(self, service: Service) -> None:
        self.started_at = time.monotonic()
        self.output, write_end = os.pipe()
        os.set_blocking(self.output, False)
        self._unfinished = b""
        try:
            self._process = subprocess.Popen(
                service.command,
                cwd=service.folder,
                env=service.env,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dies_with_parent(),
            )
        finally:
            os.close(write_end)

    def lines(self) -> Iterator[bytes]:
        """Yield the complete lines that are available; long ones are cut."""
        chunk = b""
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self.output, LONGEST_LINE)
        *complete, self._unfinished = (self._unfinished + chunk).split(b"\n")
        yield from complete
        if len(self._unfinished) > LONGEST_LINE:
            yield self._unfinished
            self._unfinished = b""

    def has_ended(self) -> bool:
        """Whether the process has ended; it is not reaped, so its pid is not reused."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process alone, which stops its own children."""
        if not self.has_ended():
            os.kill(self._process.pid, signal.SIGTERM)

    def kill_group(self) -> None:
        """Kill the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def bury(self) -> tuple[str, list[bytes]]:
        """Reap an ended process and its group; return the cause and its last lines."""
        self.kill_group()
        code = self._process.wait()
        last = list(self.lines())
        if self._unfinished:
            last.append(self._unfinished)
        os.close(self.output)
        return (f"signal {-code}" if code < 0 else f"exit code {code}"), last
