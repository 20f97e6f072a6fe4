"""Counters of this process's requests; several processes share a folder.

`PROMETHEUS_MULTIPROC_DIR`, set before this import, names the folder (`wallet.serve` and
`gunicorn.conf.py` set it). Labels have few values: routes, never paths.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, multiprocess

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "wallet_http_requests",
    "Requests answered.",
    ["method", "route", "status"],
    registry=_REGISTRY,
)
SECONDS = Histogram(
    "wallet_http_request_seconds",
    "How long an answer took.",
    ["method", "route"],
    buckets=BUCKETS,
    registry=_REGISTRY,
)


def leave() -> None:
    """Remove the gauges of this process, which ends."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(os.getpid())


def registry() -> CollectorRegistry:
    """Return the counters of all processes of the folder, or else of this one."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return _REGISTRY
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)
    return shared
