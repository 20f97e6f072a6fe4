"""Commands of scripts: run them, keep their output, end them with the script.

No process may be left behind, whatever ends the calling script.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from ops import ROOT, Trouble

SECONDS_TO_STOP = 5.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def dies_with_parent(signum: int = signal.SIGTERM) -> Callable[[], None]:
    """Return a `preexec_fn` that lets the kernel signal the child when we end.

    So even a SIGKILL leaves nothing running. The signal is bound to the *thread* that
    forks, so call this from the main thread only.
    """
    parent = os.getpid()

    def prepare() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signum)
            if os.getppid() != parent:  # it died before the call above
                os._exit(1)

    return prepare


def interrupt_on_signals() -> None:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt, like Ctrl-C."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.default_int_handler)


def run(
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
) -> int:
    """Run a command and return its exit code; end it when this process is ended."""
    return run_together([(command, env, output)])[0]


def run_together(
    commands: Sequence[
        tuple[Sequence[str], Mapping[str, str] | None, IO[bytes] | None]
    ],
) -> list[int]:
    """Run commands (with environment and output) concurrently; return the exit codes.

    When this process is ended, so are they.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command, env, output in commands:
            processes.append(_start(command, env, output))
        return [process.wait() for process in processes]
    except BaseException:
        _end(processes)
        raise


def _start(
    command: Sequence[str], env: Mapping[str, str] | None, output: IO[bytes] | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        preexec_fn=dies_with_parent(),
    )


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_logged(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> int:
    """Run a command to its end with all output in `log`; return its exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return run(command, env, output)


def last_line(log: Path, containing: str = "") -> str:
    """Return the last line of a log, preferably one with the given text."""
    lines = [
        line.strip() for line in log.read_text(errors="replace").splitlines() if line
    ]
    chosen = [line for line in lines if containing in line] or lines or ["no output"]
    return chosen[-1][:300]


def main(script: Callable[[], int]) -> None:
    """Run a script: Trouble is one line on stderr, an interrupt prints nothing."""
    interrupt_on_signals()
    try:
        code = script()
    except Trouble as trouble:
        print(trouble, file=sys.stderr, flush=True)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
