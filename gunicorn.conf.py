"""How `gunicorn wallet.wsgi` serves the API: each request alone, in a thread of its own.

What serves it in production (docs/decisions/0020-the-server.md) gathers requests instead.
Behind this one belongs a proxy that waits for slow clients. WEB_CONCURRENCY (processes) is
gunicorn's own variable; WEB_THREADS is ours.
"""

import gc
import os
import shutil
import sys
import tempfile
from typing import Any

from gunicorn.glogging import Logger

from wallet.logs import logging_config
from wallets.utils import uptime  # noqa: F401 (the service is up from now on)

_cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
workers = int(os.environ.get("WEB_CONCURRENCY") or min(_cores or 2, 8))
threads = int(os.environ.get("WEB_THREADS") or 8)
keepalive = 75

# A request that began may end; what takes longer than this is cut off.
graceful_timeout = 6
timeout = 30
# Memory that leaks anywhere is given back, not by all processes at once.
max_requests = 100_000
max_requests_jitter = 10_000

# A client behind a proxy on this machine must not choose another path by a header.
forwarder_headers = ""

# No socket in somebody's home directory; heartbeat files in memory, not on a disk.
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108

worker_class = "gthread"
# A file is sent as other answers are.
sendfile = False


class NoAccessLog(Logger):
    """Writes no line for a request: the service does (`wallets.views.http.request_log`)."""

    def access(self, *args, **kwargs):
        """gunicorn would gather all that such a line may say, to throw it away."""


logger_class = NoAccessLog


def post_worker_init(worker):
    """What is loaded by now stays: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()


# The master's lines look like everybody else's; each request is logged by the service.
logconfig_dict = logging_config(
    level=os.environ.get("LOG_LEVEL") or "INFO",
    as_json=os.environ.get("LOG_FORMAT") != "console",
    service=os.environ.get("SERVICE_NAME") or "wallet",
)


def on_starting(server: Any) -> None:
    """Give the processes a folder to count requests in together, an empty one each time."""
    if os.environ.get("METRICS_ENABLED", "").lower() in ("true", "1", "yes", "on"):
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(
            prefix="wallet-metrics-"
        )


def child_exit(server: Any, worker: Any) -> None:
    """What a process that has ended was doing at the moment is no longer counted."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    folder = os.environ.pop("PROMETHEUS_MULTIPROC_DIR", "")
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
