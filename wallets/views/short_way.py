"""What the short ways in front of Django share: each is a request, logged and counted as one."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.signals import request_finished, request_started
from django.urls import resolve

from wallets.views import metrics, request_log

Fields = list[tuple[str, str]]


@contextmanager
def in_a_request() -> Iterator[None]:
    """Begin and end as Django's handler does: it closes connections that are not to be kept."""
    request_started.send(sender=in_a_request, environ={})
    try:
        yield
    finally:
        request_finished.send(sender=in_a_request)


def tell(path: str, began: float, *, example: str, **more: str) -> None:
    """Log and count a POST that is answered by 200; `example` is one path of its route."""
    request_log.write("POST", path, 200, began, **more)
    if settings.METRICS_ENABLED:
        metrics.count("POST", _route(example), 200, began)


@functools.cache
def _route(example: str) -> str:
    """What `metrics.count_requests` calls the path of every such request."""
    return resolve(example).route
