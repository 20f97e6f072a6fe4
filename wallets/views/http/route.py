"""A path of the API."""

from __future__ import annotations

from typing import NamedTuple

from wallets.views.http.rest_framework import Endpoint


class Route(NamedTuple):
    """A path of the API, its view, and its name for `reverse`."""

    path: str
    view: type[Endpoint]
    name: str
    # An action is served with and without the trailing slash, and documented once.
    is_action: bool = False
