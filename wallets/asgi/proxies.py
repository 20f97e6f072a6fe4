"""Believes a proxy of ours that the client asked over TLS; nobody else may say so."""

from __future__ import annotations

import os

from wallets.asgi.types import Scope

# Addresses of proxies, as gunicorn's variable of the same name has them; `*` is everybody.
_TRUSTED = frozenset(
    one.strip()
    for one in os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1").split(",")
)
_PROTO = b"x-forwarded-proto"


def as_the_client_asked(scope: Scope) -> Scope:
    """Return the scope with the scheme that the client used, where a proxy tells it.

    Who asks at a Unix socket is a proxy of ours.
    """
    told = [value for name, value in scope["headers"] if name == _PROTO]
    if told != [b"https"]:
        return scope
    client = scope.get("client")
    trusted = not client or client[0] in _TRUSTED or "*" in _TRUSTED
    return {**scope, "scheme": "https"} if trusted else scope
