"""Permissions of the console: the same as in the admin, one for each kind of row.

An operator (`OPERATE`) sees every page: a conclusion on evidence needs the attempts,
the history, the wallet and the alarms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# The permission to act.
OPERATE = "wallets.change_transaction"


def may_see(user: Any, model: str) -> bool:
    """Whether the user may see rows of this model.

    `model`: its lower-case name; of another application than `wallets`: `app.name`.
    """
    return bool(
        user.has_perm(_permission("view", model))
        # As in the admin: the permission to change includes that to view.
        or user.has_perm(_permission("change", model))
        or user.has_perm(OPERATE)
    )


def _permission(verb: str, model: str) -> str:
    application, _, name = model.rpartition(".")
    return f"{application or 'wallets'}.{verb}_{name}"


def not_to_see(user: Any, models: Iterable[str]) -> str:
    """Return the missing permissions to view these models, in words; "" if none."""
    lacking = [model for model in models if not may_see(user, model)]
    return " and ".join(in_words(_permission("view", model)) for model in lacking)


def in_words(permission: str) -> str:
    """Return a permission as a person asks for it: its name, and its code."""
    verb, _, model = permission.rpartition(".")[2].partition("_")
    return f"“Can {verb} {model}” ({permission})"
