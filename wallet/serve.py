"""Serves the API: `python -m wallet.serve`.

`make run` and the container use it, too. WEB_CONCURRENCY is the number of processes
(default: one for each core, at most eight, because of database connections).
WEB_KEEPALIVE is how long a connection may be silent (seconds).
docs/decisions/0020-the-server.md explains the server and its settings.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from wallet.environment import Env, count, refused_in_one_line
from wallet.logs import logging_config
from wallets.utils import uptime  # noqa: F401 (the service is up from now on)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")

APPLICATION = "wallet.asgi:application"

MAX_PROCESSES = 8
# The most connections of one process; more wait until one ends.
CONNECTIONS = 4096
# Open files besides the connections: databases, logs, libraries.
OTHER_FILES = 256
# A larger head is refused: 431. The application refuses single long fields.
HEAD_BYTES = 65_536
# Seconds for a complete head, from the beginning of the connection or the last answer.
QUIET_SECONDS = 10
# The server's own limit, which it checks only on its command line.
MOST_QUIET_SECONDS = 60
# Seconds for the requests in progress when a process is told to stop.
STOP_SECONDS = 7
# Seconds for a new process to listen before the old one is told to stop.
START_SECONDS = 10
# A process that uses more memory is replaced, one at a time.
MAX_MEBIBYTES = 1024
_PR_SET_PDEATHSIG = 1  # of Linux' prctl


def main(arguments: list[str]) -> None:
    """Serve until told to stop: SIGTERM, SIGINT; SIGHUP replaces the processes."""
    options = _options(arguments)
    with refused_in_one_line():
        # Otherwise each process would fail, again and again.
        django_settings.WEB_THREADS  # noqa: B018
        server = settings()
    _allow_many_files()
    _end_with_the_server()
    folder = _folder_for_metrics()
    try:
        Granian(
            options.application,
            address=options.host,
            port=options.port,
            uds=options.socket,
            **server,
        ).serve()
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def settings() -> dict[str, Any]:
    """Return the settings of the server, without application and address."""
    level = (os.environ.get("LOG_LEVEL") or "INFO").lower()
    quiet = count("WEB_KEEPALIVE", QUIET_SECONDS, most=MOST_QUIET_SECONDS)
    return {
        "interface": Interfaces.ASGI,
        "http": HTTPModes.http1,
        "websockets": False,
        "workers": _processes(),
        "backlog": 2 * CONNECTIONS,
        "backpressure": CONNECTIONS,
        "http1_settings": HTTP1Settings(
            header_read_timeout=quiet * 1000, max_buffer_size=HEAD_BYTES
        ),
        "respawn_failed_workers": True,
        "respawn_interval": START_SECONDS,
        "workers_kill_timeout": STOP_SECONDS,
        "workers_max_rss": MAX_MEBIBYTES,
        "rss_samples": 2,
        "log_level": LogLevels(level),
        "log_dictconfig": logging_config(
            level=level.upper(),
            as_json=os.environ.get("LOG_FORMAT") != "console",
            service=os.environ.get("SERVICE_NAME") or "wallet",
        ),
    }


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m wallet.serve", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("application", nargs="?", default=APPLICATION, help="module:name (the API)")
    add("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    add("--port", type=int, default=8000, help="port to listen at (8000)")
    add("--socket", type=Path, help="Unix socket to listen at, instead of a port")
    return parser.parse_args(arguments)


def _processes() -> int:
    usable = sys.platform == "linux"
    cores = len(os.sched_getaffinity(0)) if usable else os.cpu_count()
    return count("WEB_CONCURRENCY", min(cores or 2, MAX_PROCESSES))


def _allow_many_files() -> None:
    """Raise the limit of open files: each connection needs one."""
    wanted = CONNECTIONS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _end_with_the_server() -> None:
    """Have Linux stop the processes when the server is killed with -9.

    Otherwise they would go on beside those of the next server.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        os.register_at_fork(
            after_in_child=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        )


def _folder_for_metrics() -> str:
    """Create an empty folder for the processes' shared counters, if enabled."""
    if not Env().bool("METRICS_ENABLED", default=False):
        return ""
    folder = tempfile.mkdtemp(prefix="wallet-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    return folder


if __name__ == "__main__":
    main(sys.argv[1:])
