"""Suggests the right path for one that is wrong in form only.

Paths are exact. A request is never redirected, because a redirect drops the body of a
POST, and never answered at a second address. The problem names the right path.
"""

from __future__ import annotations

import uuid

from django.urls import Resolver404, get_script_prefix, resolve


def right_path(path: str) -> str | None:
    """Return the API's path that differs only in slashes, case, or a UUID's form.

    None if there is none. Of the request it repeats only ids and words of the API's
    paths.
    """
    parts = [_canonical(part) for part in path.split("/") if part]
    bare = "/" + "/".join(parts)
    for candidate in (bare, f"{bare}/"):
        if candidate != path and _is_of_the_api(candidate):
            return get_script_prefix().rstrip("/") + candidate
    return None


def _canonical(part: str) -> str:
    try:
        return str(uuid.UUID(part))
    except ValueError:
        return part.lower()


def _is_of_the_api(path: str) -> bool:
    """Whether a view of the REST framework serves the path (not the console)."""
    try:
        return hasattr(resolve(path).func, "cls")
    except (Resolver404, ValueError):
        return False
