"""Who may see and do what: the same permissions as in the admin, one for each kind of row.

An operator (`OPERATE`) sees every page: nobody can conclude a withdrawal on evidence
without its attempts, its history, its wallet and its alarms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Who may press buttons.
OPERATE = "wallets.change_transaction"


def may_see(user: Any, model: str) -> bool:
    """Whether this user may see rows of this model of `wallets`, by its lower-case name."""
    return bool(
        user.has_perm(f"wallets.view_{model}")
        # As in the admin: whoever changes a row sees it.
        or user.has_perm(f"wallets.change_{model}")
        or user.has_perm(OPERATE)
    )


def not_to_see(user: Any, models: Iterable[str]) -> str:
    """Name the permissions to look that this user lacks, as the admin lists them; "" if none."""
    lacking = [model for model in models if not may_see(user, model)]
    return " and ".join(
        f"“Can view {model}” (wallets.view_{model})" for model in lacking
    )
