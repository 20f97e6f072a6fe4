"""Whether Beat's loop goes round: `python -m wallets.utils.messaging.beat_alive`, beside it.

Beat marks a file each time; nothing else of it can be asked. Exit code 1 says that it has
not for a while. No Django is loaded, for this is run every half minute.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import suppress

# Beat goes round at least as often as its shortest interval, and ten seconds is normal.
SILENT_SECONDS = 120


def path() -> str:
    """Return the file that Beat marks, one for each user of this machine."""
    return os.path.join(tempfile.gettempdir(), f"wallet-beat-{os.getuid()}")


def mark() -> None:
    """Say that Beat's loop goes round. A disk that is full or read-only stops no tick."""
    with suppress(OSError):
        file = os.open(path(), os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            os.utime(file)
        finally:
            os.close(file)


def is_alive() -> bool:
    """Whether it was marked lately. This machine's clock wrote it, and reads it."""
    try:
        marked = os.stat(path(), follow_symlinks=False).st_mtime
    except OSError:
        return False
    return abs(time.time() - marked) < SILENT_SECONDS


if __name__ == "__main__":
    sys.exit(0 if is_alive() else 1)
