"""When keys were last used. Written beside the requests, at most once a minute."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Q

from access.models.api_key import ApiKey
from wallets.utils.database.transactions import database_now, run_in_transaction


def note(keys: Sequence[int]) -> None:
    """Note that these keys (by id) were used about now. Opens its own transaction.

    A later time is never replaced by an earlier one.
    """
    if not keys:
        return

    def work() -> None:
        now = database_now()
        older = Q(last_used_at=None) | Q(last_used_at__lt=now)
        ApiKey.objects.filter(older, pk__in=keys).update(last_used_at=now)

    run_in_transaction(work)
