"""The names of actors in the append-only rows."""

from __future__ import annotations

from typing import Any

# The length of the columns.
MAX_ACTOR = 150


def operator(user: Any) -> str:
    """Return the actor's name for a logged-in user.

    A user name that does not fit into the column is cut, and gets the user's id, which
    makes it unique.
    """
    name = f"operator {user.get_username()}"
    if len(name) <= MAX_ACTOR:
        return name
    return f"operator {user.pk} {user.get_username()}"[:MAX_ACTOR]
