"""Slows down who guesses passwords: a few wrong ones, then a pause.

Counted for each name and address in the cache, which is each process's own unless a
shared one is configured: a brake, not a wall.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

ALLOWED_FAILURES = 5
PAUSE_SECONDS = 300


class LimitedBackend(ModelBackend):
    """Django's users, with a limit on wrong passwords; admin and console share it."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the user whose password this is.

        :raises PermissionDenied: too many wrong ones lately; the right one, too, waits.
        """
        if is_locked(request, username):
            raise PermissionDenied
        user = super().authenticate(request, username, password, **kwargs)
        key = _key(request, username)
        if user is None:
            cache.add(key, 0, PAUSE_SECONDS)
            cache.incr(key)
        else:
            cache.delete(key)
        return user


def is_locked(request: HttpRequest | None, username: str | None) -> bool:
    """Whether this name has failed too often from this address lately."""
    return int(cache.get(_key(request, username), 0)) >= ALLOWED_FAILURES


def _key(request: HttpRequest | None, username: str | None) -> str:
    address = request.META.get("REMOTE_ADDR", "") if request else ""
    text = f"{address} {username or ''}"
    return "login:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
