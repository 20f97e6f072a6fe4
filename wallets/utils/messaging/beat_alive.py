"""Whether Beat's loop runs: `python -m wallets.utils.messaging.beat_alive` on its machine.

Beat touches a file in each round of its loop. Exit code 1: it has not for a while. The
command runs every half minute, so it does not load Django.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import suppress

# Beat's loop runs at least at its shortest interval, usually ten seconds.
SILENT_SECONDS = 120


def path() -> str:
    """Return the file that Beat touches, one for each user of this machine."""
    return os.path.join(tempfile.gettempdir(), f"wallet-beat-{os.getuid()}")


def mark() -> None:
    """Touch the file. A full or read-only disk does not stop a tick."""
    with suppress(OSError):
        file = os.open(path(), os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            os.utime(file)
        finally:
            os.close(file)


def is_alive() -> bool:
    """Whether the file was touched lately, by this machine's clock."""
    try:
        marked = os.stat(path(), follow_symlinks=False).st_mtime
    except OSError:
        return False
    return abs(time.time() - marked) < SILENT_SECONDS


if __name__ == "__main__":
    sys.exit(0 if is_alive() else 1)
