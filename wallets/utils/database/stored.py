"""Stored rows as instances of their model, at a fraction of the work of its constructor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model
from django.db.models.base import ModelState

M = TypeVar("M", bound=Model)


class Columns(Generic[M]):
    """All columns of a model, as a statement selects them from the table `alias`.

    The columns of a table can only be known once all models are loaded: make it late.
    """

    def __init__(self, model: type[M], alias: str) -> None:
        fields = model._meta.concrete_fields
        self._model = model
        self._names = [field.attname for field in fields]
        self.count = len(fields)
        self.sql = ", ".join(f'{alias}."{field.column}"' for field in fields)

    def instance(self, values: Sequence[Any], **related: Model) -> M:
        """The row with these values, as if Django had read it with these `related` rows.

        The values are as the driver reads them: for what a field converts when it is read
        (JSON, on PostgreSQL nothing else of ours) this is not made.
        """
        row = self._model.__new__(self._model)
        state = ModelState()
        state.adding = False
        state.db = DEFAULT_DB_ALIAS
        state.fields_cache = related
        row.__dict__ = {"_state": state, **dict(zip(self._names, values, strict=True))}
        return row
