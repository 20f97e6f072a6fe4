"""`make serve`: the API as in production, with the environment's database and broker.

It migrates nothing and starts nothing else: see docs/production.md. HOST and PORT are
its address, WEB_CONCURRENCY and WEB_THREADS its numbers of processes and threads.
"""

from __future__ import annotations

import os

from ops import ROOT, Trouble, environment
from ops.steps import main


def script() -> int:
    engine = environment.database_engine()
    if not engine:
        raise Trouble("set DATABASE_URL (docs/production.md), or use `make run`")
    python = environment.install("run", *environment.drivers(engine))
    os.environ.setdefault("SERVICE_NAME", "api")
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
    os.chdir(ROOT)
    os.execv(  # noqa: S606 (our own interpreter, no shell)
        python,
        [str(python), "-m", "wallet.serve", "--host", host, "--port", port],
    )


if __name__ == "__main__":
    main(script)
