"""`make drill-restore`: restore a backup, follow the runbook, compare with the bank.

For each kind of backup and each kind of bank: money moves, a backup is taken, more
money moves, the backup is restored by the recipe of docs/production.md, and the drill
follows docs/runbook.md with the service's own commands. In the end the bank must have
paid every withdrawal exactly once, and the ledger must say so.

    make drill-restore ARGS="--backup sqlite --bank bare"
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from drills import settings
from drills.backups import Backup, MariaDump, PostgresDump, SqliteFile
from drills.bank import KINDS as BANKS
from drills.bank import Simulator
from drills.point_in_time import PointInTime

SECONDS = 240
KINDS: Mapping[str, type[Backup]] = {
    kind.name: kind for kind in (SqliteFile, PostgresDump, MariaDump, PointInTime)
}


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; each list has everything by default."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backup", action="append", choices=KINDS)
    parser.add_argument("--bank", action="append", choices=BANKS)
    parser.add_argument(
        "--broken", help="break the product first, to see the drill find it"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Restore all that can be restored here; return 1 if anything was wrong."""
    options = options_of(arguments)
    wrong = done = 0
    for name in options.backup or KINDS:
        reason = KINDS[name].missing()
        if reason:
            print(f"{name:<14} left out: {reason}", flush=True)
            continue
        for bank in options.bank or BANKS:
            code = _restore(KINDS[name], bank, options.broken or "")
            print(f"{name:<14} {bank:<10} {'WRONG' if code else 'right'}", flush=True)
            done, wrong = done + 1, wrong + bool(code)
    print(f"{done - wrong} right, {wrong} wrong", flush=True)
    return int(wrong > 0 or done == 0)


def _restore(kind: type[Backup], bank: str, broken: str) -> int:
    """Run one restore in a process with its own settings."""
    with tempfile.TemporaryDirectory(prefix="restore-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a database server runs as another user
        (folder / "database").mkdir()
        backup = kind(folder / "database")
        simulator = Simulator(folder)
        try:
            backup.create()
            simulator.wait()
            can = BANKS[bank]
            environment = {
                **settings.environment(backup.url, folder),
                "THIRD_PARTY_BASE_URL": simulator.url,
                "THIRD_PARTY_DEDUPES": str(can.dedupes),
                "THIRD_PARTY_LOOKUP": str(can.looks_up),
                "THIRD_PARTY_BOOKING_TIME": "0.1",
                # A refusal of a repeated request proves nothing, so an operator decides.
                "WITHDRAWAL_REVIEW_AFTER": "8",
                "SECRET_KEY": "of-this-drill-only",
                "LOG_LEVEL": "ERROR",
            }
            story = _Story(backup, bank, environment, broken)
            return story.run()
        finally:
            backup.drop()
            simulator.stop()


class _Story:
    """The process that runs the story; the backup is restored between its two runs."""

    def __init__(
        self, backup: Backup, bank: str, environment: dict[str, str], broken: str
    ) -> None:
        self._backup = backup
        self._command = [sys.executable, "-m", "drills.restore_story"]
        self._options = ["--bank", bank, *(["--broken", broken] if broken else [])]
        self._environment = {**os.environ, **environment}

    def run(self) -> int:
        for life in ("before", "forgotten", "after"):
            done = subprocess.run(
                [*self._command, life, *self._options],
                env=self._environment
                | {"DRILL_FOLDER": str(self._backup.folder.parent)},
                timeout=SECONDS,
            )
            if done.returncode:
                print(f"the part {life!r} ended with {done.returncode}", flush=True)
                return done.returncode
            if life == "before":
                self._backup.save()
            elif life == "forgotten":
                self._backup.restore()
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
