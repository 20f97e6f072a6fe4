"""Model instances of stored rows, faster than by the model's constructor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model
from django.db.models.base import ModelState

M = TypeVar("M", bound=Model)


class Columns(Generic[M]):
    """All columns of a model, for a SELECT from the table `alias`.

    Create it only after all models are loaded.
    """

    def __init__(self, model: type[M], alias: str) -> None:
        fields = model._meta.concrete_fields
        self._model = model
        self._names = [field.attname for field in fields]
        self.count = len(fields)
        self.sql = ", ".join(f'{alias}."{field.column}"' for field in fields)

    def instance(self, values: Sequence[Any], **related: Model) -> M:
        """Return the row with these values, as if Django had read it.

        `related` are its related rows. The values are the driver's. Not for fields that
        convert values when reading (on PostgreSQL only JSON).
        """
        row = self._model.__new__(self._model)
        state = ModelState()
        state.adding = False
        state.db = DEFAULT_DB_ALIAS
        state.fields_cache = related
        row.__dict__ = {"_state": state, **dict(zip(self._names, values, strict=True))}
        return row
