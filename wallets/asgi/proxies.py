"""The scheme of the client, as a trusted proxy reports it."""

from __future__ import annotations

import os

from wallets.asgi.types import Scope

# Addresses of trusted proxies, as in gunicorn's variable of this name; `*`: all.
_TRUSTED = frozenset(
    one.strip()
    for one in os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1").split(",")
)
_PROTO = b"x-forwarded-proto"


def as_the_client_asked(scope: Scope) -> Scope:
    """Return the scope with the client's scheme, if a trusted proxy reports it.

    Clients at a Unix socket are trusted.
    """
    told = [value for name, value in scope["headers"] if name == _PROTO]
    if told != [b"https"]:
        return scope
    client = scope.get("client")
    trusted = not client or client[0] in _TRUSTED or "*" in _TRUSTED
    return {**scope, "scheme": "https"} if trusted else scope
