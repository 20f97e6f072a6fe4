"""When keys were last used. Written beside the requests, at most once a minute."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q

from access.models.api_key import ApiKey
from wallets.utils.database.transactions import (
    database_now,
    lock_rows,
    run_in_transaction,
)


def note(keys: Collection[int]) -> set[int]:
    """Note that these keys (by id) were used about now. Opens its own transaction.

    A later time is never replaced by an earlier one. Waits for no row that another
    transaction has locked: returns the keys of these, to be noted the next time.
    """
    if not keys:
        return set()

    def work() -> set[int]:
        now = database_now()
        older = Q(last_used_at=None) | Q(last_used_at__lt=now)
        rows = ApiKey.objects.filter(older, pk__in=list(keys)).order_by("pk")
        ours = {key.pk for key in lock_rows(rows, skip_locked=True)}
        ApiKey.objects.filter(pk__in=ours).update(last_used_at=now)
        return set(rows.values_list("pk", flat=True)) - ours

    return run_in_transaction(work, patience=0)
