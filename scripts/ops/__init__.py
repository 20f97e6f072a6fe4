"""What `make` needs: environment, processes, servers. Standard library only.

Everything here starts before any package is installed, so nothing from the virtual
environment may be imported, and nothing of the product either.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What outlives a run and is no database: the broker's queue, logs, locks.
VAR = Path(os.environ.get("WALLET_VAR") or ROOT / "var").resolve()


class Trouble(Exception):
    """Something only the user can mend. The message is one line that names the cure."""
