"""Finds the operation of a path and a method: the routes of `wallets.urls`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.urls.converters import UUIDConverter

from wallets.urls import ROUTES, CorrectableIdConverter, TransactionIdConverter
from wallets.views.http.operation import Operation
from wallets.views.http.rest_framework import OperationView

_CONVERTERS: Mapping[str, Any] = {
    "uuid": UUIDConverter(),
    "transaction_id": TransactionIdConverter(),
    "correctable_id": CorrectableIdConverter(),
}
_PARAMETER = re.compile("<([a-z_]+):([a-z_]+)>")


class Route(NamedTuple):
    """An operation and its path."""

    pattern: re.Pattern[str]
    # The converter of each named group.
    converters: Mapping[str, Any]
    operation: Operation[Any, Any]
    # Django's name of the route.
    name: str
    # The methods of the path, as its Allow header lists them.
    allowed: bytes


class Match(NamedTuple):
    """The operation of a request, with the arguments of its path."""

    route: Route
    arguments: Mapping[str, Any]


def _compiled(path: str, operation: Operation[Any, Any], allowed: bytes) -> Route:
    converters = {name: _CONVERTERS[kind] for kind, name in _PARAMETER.findall(path)}
    pattern = _PARAMETER.sub(
        lambda found: f"(?P<{found[2]}>{_CONVERTERS[found[1]].regex})", path
    )
    return Route(re.compile(f"/{pattern}"), converters, operation, path, allowed)


def allowed_methods(view: type[OperationView]) -> bytes:
    """Return the view's Allow header: the REST framework's methods, in its order."""
    served = {operation.method for operation in view.operations} | {"OPTIONS"}
    if "GET" in served:
        served.add("HEAD")
    names = (name.upper() for name in view.http_method_names)
    return ", ".join(name for name in names if name in served).encode()


ROUTES_BY_METHOD: dict[str, list[Route]] = {}
for _route in ROUTES:
    if issubclass(_route.view, OperationView):
        for _path in (_route.path, f"{_route.path}/")[: 1 + _route.is_action]:
            for _operation in _route.view.operations:
                ROUTES_BY_METHOD.setdefault(_operation.method, []).append(
                    _compiled(_path, _operation, allowed_methods(_route.view))
                )


def find(method: str, path: str) -> Match | None:
    """Return the operation of a request, or None."""
    for route in ROUTES_BY_METHOD.get(method, ()):
        found = route.pattern.fullmatch(path)
        if found is not None:
            try:
                return Match(
                    route,
                    {
                        name: route.converters[name].to_python(text)
                        for name, text in found.groupdict().items()
                    },
                )
            except ValueError:
                return None
    return None
