"""The names of actors in the append-only rows."""

from __future__ import annotations

from typing import Any

# The length of the columns.
MAX_ACTOR = 150
# What the names of workers begin with; then come a space, their host and their process.
WORKER = "worker"


def told(actor: str) -> str:
    """Return the name of an actor as others are told it.

    The host and the process of a worker are nobody's business outside.
    """
    return WORKER if actor.startswith(f"{WORKER} ") else actor


def operator(user: Any) -> str:
    """Return the actor's name for a logged-in user.

    A user name that does not fit into the column is cut, and gets the user's id, which
    makes it unique.
    """
    name = f"operator {user.get_username()}"
    if len(name) <= MAX_ACTOR:
        return name
    return f"operator {user.pk} {user.get_username()}"[:MAX_ACTOR]
