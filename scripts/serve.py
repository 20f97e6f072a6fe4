"""`make serve`: the API as in production, on the database and broker of the environment.

Nothing is migrated and nothing else is started: see docs/production.md. HOST and PORT say
where it listens, WEB_CONCURRENCY and WEB_THREADS how many work.
"""

from __future__ import annotations

import os

from ops import ROOT, Trouble, environment
from ops.steps import main

DRIVERS = {"postgres": "postgresql", "mysql": "mysql"}


def script() -> int:
    url = os.environ.get("DATABASE_URL", "")
    engine = url.partition(":")[0] or os.environ.get("DB_ENGINE", "")
    if not engine:
        raise Trouble("set DATABASE_URL (docs/production.md), or use `make run`")
    drivers = [group for name, group in DRIVERS.items() if name in engine]
    python = environment.install("run", *drivers)
    os.environ.setdefault("SERVICE_NAME", "api")
    where = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
    os.chdir(ROOT)
    os.execv(  # noqa: S606 (our own interpreter, no shell)
        python, [str(python), "-m", "gunicorn", "--bind", where, "wallet.wsgi"]
    )


if __name__ == "__main__":
    main(script)
