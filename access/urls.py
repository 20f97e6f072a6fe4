"""The paths that the application adds to the API: none. Keys are made by operators."""

from __future__ import annotations

from wallets.views.http.route import Route

ROUTES: tuple[Route, ...] = ()
