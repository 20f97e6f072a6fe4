"""Limits on logins: no guessing of passwords, and no lock-out of operators by guessing.

Note [Known devices]: after five wrong passwords within five minutes a *name* must wait,
whatever the addresses were. So many addresses do not help a guesser, and users with the
same address do not lock each other out. A browser in which this name has logged in
before has a signed cookie. It does not wait for the failures of others, and has five
wrong passwords of its own. (OWASP describes this as device cookies; `axes` keeps the
count in the database.)

On a machine one password is hashed at a time, and one more of a known device, so that
guessers do not delay it. Hashing is slow on purpose, and must not delay deposits.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from wallets.utils import clock

COOKIE = "known_device"
COOKIE_SECONDS = 365 * 86400
_SALT = "wallets.known_device"

# In a process one login hashes and one waits; further ones are refused.
MAX_WAITING = 2
# By whether the device is known: each kind has its own queue.
_waiting = {known: threading.BoundedSemaphore(MAX_WAITING) for known in (False, True)}


@contextlib.contextmanager
def turn(*, known: bool = False) -> Iterator[bool]:
    """Take the machine's turn to hash a password; False if there is none in time.

    Known devices have a turn of their own.
    """
    if not _waiting[known].acquire(blocking=False):
        yield False
        return
    name = f"wallet-login-{os.getuid()}{'-known' if known else ''}.lock"
    path = os.path.join(tempfile.gettempdir(), name)
    try:
        file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        try:
            yield _locks(file)
        finally:
            os.close(file)
    finally:
        _waiting[known].release()


def _locks(file: int) -> bool:
    ends = clock.elapsed() + settings.LOGIN_TURN_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.elapsed() >= ends:
                return False
            time.sleep(0.05)
        else:
            return True


def address_of(request: HttpRequest) -> str:
    """Return the client's address, for the record.

    Behind PROXY_COUNT proxies it is the one that the outermost proxy has seen. A client
    can write anything to the left of that, and all of it if there are fewer proxies, so
    what is no address does not count. "" if there is none, as at a Unix socket.
    """
    hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    seen = ""
    if 0 < settings.PROXY_COUNT <= len(hops):
        seen = _address_in(hops[-settings.PROXY_COUNT])
    return seen or _address_in(request.META.get("REMOTE_ADDR", ""))


def _address_in(text: str) -> str:
    """Return the IP address without port, brackets and zone; "" if it is none."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare.partition("%")[0]))
    except ValueError:
        return ""


def remember_device(response: HttpResponseBase, username: str) -> None:
    """Mark this browser as one in which the name has logged in."""
    response.set_signed_cookie(
        COOKIE,
        _mark_of(username),
        salt=_SALT,
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )


def is_known_device(
    request: HttpRequest, credentials: dict[str, Any] | None = None
) -> bool:
    """Whether the name has logged in from this browser, with few failures since."""
    username = (credentials or {}).get("username")
    known = request.get_signed_cookie(
        COOKIE, default=None, salt=_SALT, max_age=COOKIE_SECONDS
    )
    if username is None or known != _mark_of(username):
        return False
    return int(cache.get(_key(request), 0)) < settings.AXES_FAILURE_LIMIT


def _mark_of(username: str) -> str:
    """Return what a cookie may hold instead of a name in any letters: ASCII."""
    return hashlib.sha256(username.encode("utf-8", "replace")).hexdigest()


def count_failure(request: HttpRequest) -> None:
    """Count a wrong password of a known device."""
    if COOKIE in request.COOKIES:
        pause = settings.AXES_COOLOFF_TIME.total_seconds()
        cache.add(_key(request), 0, pause)
        cache.incr(_key(request))


def _key(request: HttpRequest) -> str:
    cookie = request.COOKIES.get(COOKIE, "")
    return "login:" + hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
