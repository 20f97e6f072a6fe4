"""Foreign keys of several columns, which Django's models do not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import PROTECT, BaseConstraint, ForeignKey, Model
from django.db.utils import DEFAULT_DB_ALIAS

# What names one movement. The wallet is that of its transaction, by the movement's own
# key; with it, one key says that a row has its movement, in its wallet.
LEG = ("transaction", "wallet", "attempt_number", "leg")


def covered_key(to: type[Model], **options: Any) -> ForeignKey:
    """Return a key without constraint and index; those of several columns cover it."""
    return ForeignKey(
        to,
        on_delete=PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
        **options,
    )


class ForeignKeyConstraint(BaseConstraint):
    """The referred table has a row with all these values.

    It is the table of the model `to` (as "wallets.Movement"), or else of the last of
    `fields`. The values are compared with its `to_fields`, in order; they must have a
    unique constraint. As Django's own keys it is checked at COMMIT; MySQL and MariaDB
    check each statement. With `only_deferred` these have no such key: the referred row
    is written later. SQLite stores the name, but does not report it.
    """

    def __init__(
        self,
        *,
        fields: Sequence[str],
        to_fields: Sequence[str],
        name: str,
        to: str = "",
        only_deferred: bool = False,
    ) -> None:
        super().__init__(name=name)
        self.fields = tuple(fields)
        self.to_fields = tuple(to_fields)
        self.to = to
        self.only_deferred = only_deferred

    def is_possible(self, connection: Any) -> bool:
        """Whether this engine can have it."""
        deferred = connection.features.can_defer_constraint_checks
        return deferred or not self.only_deferred

    def constraint_sql(self, model: Any, schema_editor: Any) -> str:
        """Return the clause of CREATE TABLE, which is how SQLite gets it."""
        if not self.is_possible(schema_editor.connection):
            return ""
        quote = schema_editor.quote_name
        to = self._referred(model)
        deferred = schema_editor.connection.features.can_defer_constraint_checks
        return (
            f"CONSTRAINT {quote(self.name)}"
            f" FOREIGN KEY ({_columns(model, self.fields, quote)})"
            f" REFERENCES {quote(to._meta.db_table)}"
            f" ({_columns(to, self.to_fields, quote)})"
            f"{' DEFERRABLE INITIALLY DEFERRED' if deferred else ''}"
        )

    def create_sql(self, model: Any, schema_editor: Any) -> str:
        """Return the statement for an existing table."""
        if not self.is_possible(schema_editor.connection):
            return ""
        table = schema_editor.quote_name(model._meta.db_table)
        return f"ALTER TABLE {table} ADD {self.constraint_sql(model, schema_editor)}"

    def remove_sql(self, model: Any, schema_editor: Any) -> str:
        """Drop the key; on MySQL and MariaDB also the index that they made for it."""
        if not self.is_possible(schema_editor.connection):
            return ""
        table = schema_editor.quote_name(model._meta.db_table)
        name = schema_editor.quote_name(self.name)
        if schema_editor.connection.vendor == "mysql":
            return f"ALTER TABLE {table} DROP FOREIGN KEY {name}, DROP INDEX {name}"
        return f"ALTER TABLE {table} DROP CONSTRAINT {name}"

    def validate(
        self,
        model: Any,
        instance: Model,
        exclude: set[str] | None = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        """Refuse an instance that the database would refuse.

        :raises ValidationError: there is no such row.
        """
        if exclude and not exclude.isdisjoint(self.fields):
            return
        attributes = (model._meta.get_field(name).attname for name in self.fields)
        values = [getattr(instance, attribute) for attribute in attributes]
        if None in values:
            return
        rows = self._referred(model)._base_manager.using(using)
        if not rows.filter(**dict(zip(self.to_fields, values, strict=True))).exists():
            raise ValidationError(str(self.get_violation_error_message()))

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """Return the form for migrations."""
        path, args, kwargs = super().deconstruct()
        kwargs |= {"fields": self.fields, "to_fields": self.to_fields}
        if self.to:
            kwargs["to"] = self.to
        if self.only_deferred:
            kwargs["only_deferred"] = True
        return path, args, kwargs

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ForeignKeyConstraint):
            return NotImplemented
        return self.deconstruct() == other.deconstruct()

    def __hash__(self) -> int:
        return hash(self.name)

    def _referred(self, model: Any) -> Any:
        """Return the model of the referred table."""
        if not self.to:
            return model._meta.get_field(self.fields[-1]).related_model
        # SQLite creates a table again by a model that alone has a registry of its own.
        other = model._meta.get_field(self.fields[0]).related_model
        return other._meta.apps.get_model(self.to)


def _columns(model: Any, names: Sequence[str], quote: Any) -> str:
    return ", ".join(quote(model._meta.get_field(name).column) for name in names)
