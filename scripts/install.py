"""Install dependency groups into `.venv`: `install.py run test dev`."""

from __future__ import annotations

import sys

from ops import environment
from ops.steps import main


def script() -> int:
    environment.install(*sys.argv[1:])
    return 0


if __name__ == "__main__":
    main(script)
