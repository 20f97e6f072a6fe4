"""The scheme of the client, as a trusted proxy reports it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from wallets.asgi.types import Scope

# Addresses of trusted proxies, as in gunicorn's variable of this name; `*`: all.
_TRUSTED = frozenset(
    one.strip()
    for one in os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1").split(",")
)


def as_the_client_asked(scope: Scope, headers: Mapping[str, str]) -> Scope:
    """Return the scope with the client's scheme, if a trusted proxy reports it.

    `headers` by name. Clients at a Unix socket are trusted.
    """
    if headers.get("x-forwarded-proto") != "https":
        return scope
    client = scope.get("client")
    trusted = not client or client[0] in _TRUSTED or "*" in _TRUSTED
    return {**scope, "scheme": "https"} if trusted else scope
