"""Settings of `gunicorn wallet.wsgi`: one thread for each request, without batches.

The server of production (docs/decisions/0020-the-server.md) batches requests instead.
This one needs a buffering proxy in front. WEB_CONCURRENCY (processes) is gunicorn's own
variable; WEB_THREADS is ours.
"""

import gc
import os
import shutil
import sys
import tempfile
from typing import Any

from gunicorn.glogging import Logger

from wallet.environment import Env, count, level, refused_in_one_line
from wallet.logs import logging_config
from wallets.utils import uptime  # noqa: F401 (the service is up from now on)

_cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
with refused_in_one_line():
    workers = count("WEB_CONCURRENCY", min(_cores or 2, 8))
    threads = count("WEB_THREADS", 8)
    _level = Env()("LOG_LEVEL", level, "INFO")
    _counts = Env().bool("METRICS_ENABLED", default=False)
keepalive = 75

# Seconds for requests in progress when a process is told to stop.
graceful_timeout = 6
timeout = 30
# Processes are replaced after so many requests, not all at the same time.
max_requests = 100_000
max_requests_jitter = 10_000

# A client behind a proxy must not choose another path by a header.
forwarder_headers = ""
# gunicorn would drop a name with an underscore, and so ignore `Idempotency_Key`.
header_map = "refuse"

# No socket in a home directory; heartbeat files in memory, not on a disk.
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108

worker_class = "gthread"
# Files are sent like other answers.
sendfile = False


class NoAccessLog(Logger):
    """Logs no requests: the service does (`wallets.views.http.request_log`)."""

    def access(self, *args, **kwargs):
        """Skip gunicorn's work for a line that would be dropped."""


logger_class = NoAccessLog


def post_worker_init(worker):
    """Exclude loaded modules from garbage collection."""
    gc.collect()
    gc.freeze()


# The master's lines have the same form; the service logs requests.
logconfig_dict = logging_config(
    level=_level,
    as_json=os.environ.get("LOG_FORMAT") != "console",
    service=os.environ.get("SERVICE_NAME") or "wallet",
)


def on_starting(server: Any) -> None:
    """Create an empty folder for the processes' shared counters, if enabled."""
    if _counts:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(
            prefix="wallet-metrics-"
        )


def child_exit(server: Any, worker: Any) -> None:
    """Remove the gauges of a process that has ended."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Remove the folder of the counters."""
    folder = os.environ.pop("PROMETHEUS_MULTIPROC_DIR", "")
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
