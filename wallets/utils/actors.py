"""Who acted, as the append-only rows name them."""

from __future__ import annotations

from typing import Any

# What the columns hold.
MAX_ACTOR = 150


def operator(user: Any) -> str:
    """Return the name of a logged-in user for a transition's or an alarm's actor.

    A user name may be as long as the column: one that does not fit with the word before it
    is cut, and the user's id makes it unique.
    """
    name = f"operator {user.get_username()}"
    if len(name) <= MAX_ACTOR:
        return name
    return f"operator {user.pk} {user.get_username()}"[:MAX_ACTOR]
