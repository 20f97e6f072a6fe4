"""`scripts/manage …`: `manage.py` with the settings of this folder's `make run`.

Variables of the shell take precedence. Without a run it uses the settings that `make
run` would use.
"""

from __future__ import annotations

import os
import sys

from ops import ROOT, environment, services, settings_of_run
from ops.environment import PYTHON
from ops.steps import main


def script() -> int:
    env = settings_of_run.read() | dict(os.environ)
    services.name_the_bank(env, services.Ports.from_env(env).bank)
    engine = env.get("DATABASE_URL", "").partition(":")[0] or env.get("DB_ENGINE", "")
    environment.install("run", "local", *environment.drivers(engine))
    env.setdefault("LOG_FORMAT", "console")
    env.setdefault("LOG_LEVEL", "WARNING")
    os.chdir(ROOT)
    # It replaces this process, so signals, exit code and terminal are its own.
    os.execve(PYTHON, [str(PYTHON), "manage.py", *sys.argv[1:]], env)  # noqa: S606


if __name__ == "__main__":
    main(script)
