"""What `make` needs: environment, processes, servers. Standard library only.

This code runs before any package is installed, so it imports nothing of the virtual
environment or the product.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Files that survive a run and are no database: the broker's queue, logs, locks.
VAR = Path(os.environ.get("WALLET_VAR") or ROOT / "var").resolve()


class Trouble(Exception):
    """A problem that the user must solve. The message is one line with the solution."""
