"""Removing rows: deliveries that are long closed, and endpoints that are deleted."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from wallets.utils.database.transactions import database_now, run_in_transaction

# The most rows that one transaction removes, and the most transactions of one call.
BATCH = 500
MAX_BATCHES = 20


def prune() -> int:
    """Remove some of the rows that are not needed; return how many.

    Opens its own transactions. The events themselves stay in the feed.
    """
    before = database_now() - timedelta(days=settings.WEBHOOK_KEEP_DAYS)
    removed = _remove(Delivery.objects.filter(closed_at__lt=before))
    for endpoint in Endpoint.objects.filter(deleted_at__isnull=False)[:BATCH]:
        removed += _remove(Delivery.objects.filter(endpoint=endpoint))
        if not Delivery.objects.filter(endpoint=endpoint).exists():
            removed += _remove(Endpoint.objects.filter(pk=endpoint.pk))
    return removed


def _remove(rows: QuerySet[Delivery] | QuerySet[Endpoint]) -> int:
    total = 0
    for _ in range(MAX_BATCHES):

        def work() -> int:
            some = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
            return int(rows.filter(pk__in=some).delete()[0])

        count = run_in_transaction(work)
        total += count
        if count < BATCH:
            break
    return total
