"""`make crash-sweep`: kill a scenario at every event; it must always end well.

For each database, kind of bank and fault of the bank, the scenario runs once to count
its events, then once for each event with an action at it (`--action`). Runs that
provably cannot differ are left out. An error is printed with all that is needed to
repeat it; then the exit code is 1.

    make crash-sweep ARGS="--database sqlite --fault accept_hang --bank able --at 57"
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from drills import clock_shim, settings
from drills.clock_shim import SteppedClock
from drills.totals import Totals

STORIES = ("payouts", "wallets")


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; each list has everything by default."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--database",
        action="append",
        help=f"{', '.join(settings.SERVERS)}, or the address of a database whose name"
        " is free to use (all that answer)",
    )
    add("--fault", action="append", help="of the bank, as drills/bank.py lists them")
    add("--bank", action="append", help="able, dedupes, looks-up or bare")
    add("--action", action="append", help="as drills/events.py lists them")
    add("--story", action="append", choices=STORIES, help="of payouts, or of wallets")
    add("--at", type=int, help="this event only")
    add("--sample", type=int, help="about so many events of each story, evenly spread")
    add("--limit", type=int, help="so many crash points in each database")
    add("--seed", type=int, default=0, help="where the sample begins")
    add("--slots", type=int, default=20, help="crash points at the same time")
    add("--broken", help="break the product first, to see the drill find it")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Sweep one database after the other, each in a process of its own."""
    options = options_of(arguments)
    totals = Totals()
    names = options.database or settings.answering()
    for name in names:
        with tempfile.TemporaryDirectory(
            prefix="crash-sweep-", dir=_memory()
        ) as folder:
            report = Path(folder) / "report.json"
            command = [sys.executable, "-m", "drills.crash_points", *arguments]
            environment = settings.environment(name, Path(folder))
            if not clock_shim.missing():
                # Processes that step the clock adopt another one; the bank's stays
                # true.
                environment |= SteppedClock(Path(folder), "true").variables
            subprocess.call(
                [*command, "--database", name],
                env={**os.environ, **environment, "DRILL_FOLDER": folder},
            )
            if not report.exists():
                print(f"{name}: the sweep did not come to its end", flush=True)
                return 2
            totals.add(json.loads(report.read_text()))
    print(totals.table(), flush=True)
    return int(totals.wrong > 0 or totals.points == 0)


def _memory() -> str | None:
    """Return a folder in memory if there is one: no drill cuts the power."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


if __name__ == "__main__":
    # Ended like Ctrl-C, so that its databases are dropped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
