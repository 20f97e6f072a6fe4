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
    """Whether the user may see rows of this model of `wallets` (lower-case name)."""
    return bool(
        user.has_perm(f"wallets.view_{model}")
        # As in the admin: the permission to change includes that to view.
        or user.has_perm(f"wallets.change_{model}")
        or user.has_perm(OPERATE)
    )


def not_to_see(user: Any, models: Iterable[str]) -> str:
    """Return the missing permissions to view these models, in words; "" if none."""
    lacking = [model for model in models if not may_see(user, model)]
    return " and ".join(
        f"“Can view {model}” (wallets.view_{model})" for model in lacking
    )
