"""What a path that is none of ours was probably meant to be.

Paths are exact: a request is never redirected, because that drops the body of a POST, and
never answered at a second address. The problem says where it belongs.
"""

from __future__ import annotations

import uuid

from django.urls import Resolver404, get_script_prefix, resolve


def right_path(path: str) -> str | None:
    """Return the API's path that differs in form only: slashes, case, a UUID's form.

    None where there is none. Nothing of what was sent is in it but ids and words that
    the API's paths have.
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
    """Whether a view of the REST framework answers there; the console's are none."""
    try:
        return hasattr(resolve(path).func, "cls")
    except (Resolver404, ValueError):
        return False
