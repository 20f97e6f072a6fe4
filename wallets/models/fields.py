"""Columns that all engines must compare in the same way, and the currency."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models


def default_currency() -> str:
    """Return the currency of a wallet that is created without one."""
    code: str = settings.DEFAULT_CURRENCY
    return code


class ExactCharField(models.CharField):
    """Text that is equal only to itself, on every engine.

    MySQL and MariaDB would take "a" for "A" and for "á". They still ignore spaces at
    the end, so the services refuse them.
    """

    def db_parameters(self, connection: Any) -> dict[str, Any]:
        """Return the column's type, with a collation on MySQL and MariaDB."""
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


class CurrencyField(ExactCharField):
    """A currency of ISO 4217: three upper-case letters. It never changes.

    The database has the same default as the model, DEFAULT_CURRENCY at the time of the
    migration, because the previous release creates wallets without this column.
    """

    def __init__(self, **options: Any) -> None:
        options |= {
            "max_length": 3,
            "default": default_currency,
            "db_default": default_currency(),
            "editable": False,
        }
        super().__init__(**options)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        """Return the form for migrations, which does not depend on the settings."""
        name, path, args, kwargs = super().deconstruct()
        for option in ("max_length", "default", "db_default", "editable"):
            kwargs.pop(option, None)
        return name, path, list(args), kwargs
