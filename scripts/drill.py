"""`make crash-sweep`, `make sabotage`: run one drill, by the name of its module."""

from __future__ import annotations

import os
import sys

from ops import ROOT, environment
from ops.steps import main


def script() -> int:
    python = environment.install("run", "local", "test")
    name, *arguments = sys.argv[1:]
    os.chdir(ROOT)
    os.execv(  # noqa: S606 (our own interpreter, no shell)
        python, [str(python), "-m", f"drills.{name}", *arguments]
    )


if __name__ == "__main__":
    main(script)
