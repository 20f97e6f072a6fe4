"""The answer to a request whose name was not looked up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from events.errors import ResolverBusy
from wallets.views.problems.from_exceptions import RETRY_AFTER_CONTENTION
from wallets.views.problems.problem_response import RequestRefused


@contextmanager
def busy_resolver_told() -> Iterator[None]:
    """Answer 503 where a name was not looked up: it may be a good one."""
    try:
        yield
    except ResolverBusy as error:
        headers = {"Retry-After": RETRY_AFTER_CONTENTION}
        raise RequestRefused(
            "service_unavailable", str(error), headers=headers
        ) from error
