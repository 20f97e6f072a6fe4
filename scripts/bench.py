"""`make bench`, `make costs`, `make near-due`: speed and punctuality of the service on this machine."""

from __future__ import annotations

import os
import sys

from ops import ROOT, environment
from ops.steps import main


def script() -> int:
    python = environment.install("run", "local", "postgresql", "mysql")
    module, *arguments = sys.argv[1:]
    os.chdir(ROOT)
    os.execv(  # noqa: S606 (our own interpreter, no shell)
        python, [str(python), "-m", module, *arguments]
    )


if __name__ == "__main__":
    main(script)
