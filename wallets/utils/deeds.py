"""Log lines about actions of operators in a browser, with user and address.

The effect on a withdrawal is in its append-only history, under the same name.
"""

from __future__ import annotations

import logging

from django.http import HttpRequest

from wallets.utils import login_limit

logger = logging.getLogger(__name__)


def record(
    request: HttpRequest, deed: str, *, done: bool, withdrawal_id: int | None = None
) -> None:
    """Log the user's id and address, the action, and whether it was done."""
    logger.log(
        logging.INFO if done else logging.WARNING,
        "operator: %s" if done else "operator, refused: %s",
        deed,
        extra={
            "user_id": request.user.pk,
            "address": login_limit.address_of(request),
            "withdrawal_id": withdrawal_id,
        },
    )
