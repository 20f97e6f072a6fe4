"""The root: links to the resources."""

from __future__ import annotations

from contextlib import suppress

from django.http import HttpResponse
from django.urls import NoReverseMatch, reverse
from rest_framework.request import Request

from wallets.views.http.request import json_response
from wallets.views.http.rest_framework import Endpoint, response_of

# By the names of their URLs; disabled ones have none.
_LINKS = {
    "docs": "docs",
    "schema": "schema",
    "problems": "problems",
    "wallets": "wallets",
    "health": "healthz",
    "readiness": "readyz",
    "console": "console:overview",
}


class IndexView(Endpoint):
    """GET /: the paths of the resources."""

    is_open = True
    schema = None

    def get(self, request: Request) -> HttpResponse:
        links = {}
        for name, url in _LINKS.items():
            with suppress(NoReverseMatch):
                links[name] = reverse(url)
        return response_of(json_response({"service": "Wallet Service", "links": links}))
