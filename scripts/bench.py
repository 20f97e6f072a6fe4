"""`make bench`: measures speed and punctuality of the service on this machine."""

from __future__ import annotations

import os
import sys

from ops import ROOT, environment
from ops.steps import main


def script() -> int:
    python = environment.install("run", "postgresql", "mysql")
    os.chdir(ROOT)
    os.execv(  # noqa: S606 (our own interpreter, no shell)
        python, [str(python), "-m", "benchmarks", *sys.argv[1:]]
    )


if __name__ == "__main__":
    main(script)
