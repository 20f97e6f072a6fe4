"""Who calls: the check of each request's key. See `wallets.views.http.authentication`."""

from __future__ import annotations

from access.errors import KeysUnknown
from access.services import live
from access.utils.rates import WINDOW
from access.utils.secret import digest_in
from wallets.utils.caller import Caller
from wallets.views.http.request import Request
from wallets.views.problems.problem_response import RequestRefused

REALM = 'Bearer realm="wallet"'
# See `wallets.views.http.authentication`.
NOT_PERMITTED = f'{REALM}, error="insufficient_scope"'
RETRY_AFTER_UNKNOWN = "1"


def authenticate(scope: str, request: Request) -> Caller:
    """Return the caller whose key the request has, if the key has this scope.

    :raises RequestRefused: no key that works (401), too many requests (429), another
        scope is needed (403), or it is not known which keys work (503).
    """
    header = request.headers.get("authorization")
    if header is None or header[:6].lower() != "bearer":
        # Without a key of ours there is no error to tell (RFC 6750, 3.1).
        raise RequestRefused("unauthenticated", headers={"WWW-Authenticate": REALM})
    digest = digest_in(header)
    try:
        key = None if digest is None else live.LIVE.find(digest)
    except KeysUnknown:
        raise RequestRefused(
            "service_unavailable",
            "It cannot be told now whether the key works.",
            headers={"Retry-After": RETRY_AFTER_UNKNOWN},
        ) from None
    if key is None:
        challenge = f'{REALM}, error="invalid_token"'
        raise RequestRefused("unauthenticated", headers={"WWW-Authenticate": challenge})
    if wait := live.LIVE.rates.wait_for(key.caller.actor, key.limit):
        raise _too_many(key, wait)
    if not key.may(scope):
        challenge = f'{NOT_PERMITTED}, scope="{scope}"'
        raise RequestRefused(
            "forbidden",
            f"The key needs the scope {scope}.",
            headers={"WWW-Authenticate": challenge},
        )
    return key.caller


def _too_many(key: live.LiveKey, wait: int) -> RequestRefused:
    return RequestRefused(
        "rate_limited",
        headers={
            "Retry-After": str(wait),
            "RateLimit-Policy": f'"key";q={key.limit.amount};w={WINDOW}',
            "RateLimit": f'"key";r=0;t={wait}',
        },
    )


def start() -> None:
    """Read the keys, and go on in the background."""
    live.LIVE.start()
