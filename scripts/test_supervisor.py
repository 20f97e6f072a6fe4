"""The supervisor of `make run`, on real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent

# Each service is a shell command; the program prints the supervisor's output.
PROGRAM = """
import os, sys
sys.path.insert(0, {scripts!r})
from ops import Trouble
from ops.child import Service
from ops.processes import Supervisor

supervisor = Supervisor()
try:
    for name, order, script in {services!r}:
        command = ["sh", "-c", script]
        supervisor.start(Service(name, command, dict(os.environ), order))
    if {starting!r}:
        supervisor.run_until(lambda: False, 60)
    supervisor.run(lambda: False)
except Trouble as trouble:
    print("trouble:", trouble, flush=True)
finally:
    supervisor.stop({patience!r})
"""


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class SupervisorTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def supervise(
        self,
        *services: tuple[str, int, str],
        patience: float = 30,
        starting: bool = False,
    ) -> subprocess.Popen[str]:
        program = PROGRAM.format(
            scripts=str(SCRIPTS),
            services=services,
            patience=patience,
            starting=starting,
        )
        with (self.folder / "output").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", program],
                cwd=self.folder,
                env=os.environ | {"HERE": str(self.folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def output(self) -> str:
        return (self.folder / "output").read_text()

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + 60
        while not condition():
            if time.monotonic() > end:
                self.fail(f"{what} did not happen; output: {self.output()}")
            time.sleep(0.02)

    def wait_for_line(self, line: str, times: int = 1) -> None:
        def is_there() -> bool:
            return self.output().splitlines().count(line) >= times

        self.wait_for(is_there, repr(line))

    def pid(self, name: str) -> int:
        file = self.folder / name
        self.wait_for(lambda: file.exists() and file.read_text().strip(), name)
        return int(file.read_text())

    def test_begins_each_line_with_the_name_of_its_service(self) -> None:
        self.supervise(
            ("api", 0, "echo one; echo two >&2; sleep 60"),
        )
        for line in ("api      | one", "api      | two"):
            self.wait_for_line(line)

    def test_prints_the_last_line_of_an_ended_service_and_starts_it_again(self) -> None:
        self.supervise(("api", 0, "printf 'no newline'; exit 3"))
        self.wait_for_line("api      | no newline", times=2)
        self.wait_for_line("make run | api ended (exit code 3) and is started again")

    def test_restarts_a_killed_service_and_ends_its_children(self) -> None:
        self.supervise(
            ("api", 0, "echo $$ >$HERE/main; sleep 60 & echo $! >$HERE/child; wait")
        )
        main, child = self.pid("main"), self.pid("child")
        for name in ("main", "child"):
            (self.folder / name).unlink()
        os.kill(main, signal.SIGKILL)
        self.assertNotEqual(self.pid("main"), main)
        self.wait_for(lambda: not alive(child), "the end of the orphan")

    def test_lets_work_finish_before_it_ends_what_the_work_needs(self) -> None:
        work = "trap 'sleep 0.5; echo finished; exit' TERM; echo up; sleep 60 & wait"
        needed = "trap 'echo bank ends; exit' TERM; echo up; sleep 60 & wait"
        process = self.supervise(("worker", 0, work), ("bank", 1, needed))
        self.wait_for_line("worker   | up")
        self.wait_for_line("bank     | up")
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        lines = self.output().splitlines()
        self.assertLess(
            lines.index("worker   | finished"), lines.index("bank     | bank ends")
        )

    def test_kills_what_does_not_end_in_time(self) -> None:
        stubborn = "trap '' TERM; echo $$ >$HERE/main; while :; do sleep 0.1; done"
        process = self.supervise(("api", 0, stubborn), patience=1)
        main = self.pid("main")
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        self.assertFalse(alive(main))
        self.assertIn("api did not end in time: killed", self.output())

    def test_leaves_nothing_when_it_is_killed_itself(self) -> None:
        process = self.supervise(("api", 0, "echo $$ >$HERE/main; exec sleep 60"))
        main = self.pid("main")
        process.kill()
        self.wait_for(lambda: not alive(main), "the end of the service")

    def test_ends_on_a_hangup(self) -> None:
        process = self.supervise(("api", 0, "echo $$ >$HERE/main; exec sleep 60"))
        main = self.pid("main")
        process.send_signal(signal.SIGHUP)
        process.wait(timeout=60)
        self.assertFalse(alive(main))

    def test_gives_up_on_a_service_that_never_starts(self) -> None:
        process = self.supervise(("api", 0, "exit 7"), starting=True)
        process.wait(timeout=60)
        self.assertIn("trouble: api cannot start (exit code 7)", self.output())


if __name__ == "__main__":
    unittest.main()
