"""Finds rows that are missing although others refer to them: changes nothing.

A part of `services.ledger.ledger_audit`, which otherwise reads a row together with what
it refers to, or skips it. Databases check their keys when a row is written; a restore
with the checks off, or SQLite's own shell, leaves out a wallet and keeps its movements.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db.models import Count, Exists, ForeignKey, Min, OuterRef, QuerySet

from wallets.models.wallet import Wallet
from wallets.services.ledger.finding import Finding

CHUNK = 2000


def verify_parents() -> Iterator[Finding]:
    """Yield each missing row to which rows of this application refer."""
    for model in apps.get_app_config(Wallet._meta.app_label).get_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, ForeignKey):
                yield from _verify(field)


def _verify(field: ForeignKey[Any, Any]) -> Iterator[Finding]:
    """Each value of this key must be that of a row. One query, by the row's index."""
    child, parent = field.model._meta.model_name, field.related_model._meta.model_name
    for value, count, first in _missing(field).iterator(chunk_size=CHUNK):
        key = "" if field.target_field.primary_key else f"{field.target_field.name} "
        yield Finding(
            "missing_row",
            f"{parent} {key}{value}",
            f"{count} of the {child}s name it as their {field.name}, the first is"
            f" {child} {first}",
        )


def _missing(field: ForeignKey[Any, Any]) -> QuerySet[Any, Any]:
    """Return the values without a row; of each how many rows have it, and the first."""
    parents = field.related_model._base_manager.filter(
        **{field.target_field.name: OuterRef(field.attname)}
    )
    rows = field.model._base_manager.filter(
        ~Exists(parents), **{f"{field.name}__isnull": False}
    )
    groups = rows.order_by().values(field.attname)
    return groups.annotate(count=Count("pk"), first=Min("pk")).values_list(
        field.attname, "count", "first"
    )
