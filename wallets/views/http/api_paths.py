"""Which paths belong to the API: those whose first part begins a path of an operation."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver, get_urlconf

from wallets.views.http.rest_framework import OperationView


def is_of_api(path: str) -> bool:
    """Whether operations serve this path, or paths beside it; "/wallets/x" is one.

    A request below it has no user, no session and no form. If no operation serves it, it
    has no body either that is read.
    """
    first = path[1:].partition("/")[0]
    return first in _first_parts(get_urlconf() or settings.ROOT_URLCONF)


@functools.cache
def _first_parts(urlconf: Any) -> frozenset[str]:
    """Return the first parts of the paths of all operations."""
    paths = _paths_of_operations(get_resolver(urlconf).url_patterns)
    return frozenset(path.partition("/")[0] for path in paths)


def _paths_of_operations(
    patterns: Sequence[URLPattern | URLResolver], before: str = ""
) -> Iterator[str]:
    for one in patterns:
        path = before + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from _paths_of_operations(one.url_patterns, path)
        elif issubclass(getattr(one.callback, "view_class", object), OperationView):
            yield path
