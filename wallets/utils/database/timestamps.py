"""Reads PostgreSQL's timestamps quickly: a row of ours has half a dozen of them.

The driver's reader for Django is a regular expression and arithmetic in Python; in a
drain, and in every list, it took more time than the query did.
"""

from __future__ import annotations

from datetime import timezone
from typing import Any

from django.db.backends.signals import connection_created


def install() -> None:
    """Have every connection to PostgreSQL read them so, from now on."""
    connection_created.connect(_register, dispatch_uid="timestamps")


def _register(connection: Any, **_kwargs: Any) -> None:
    if connection.vendor == "postgresql" and connection.timezone is timezone.utc:
        from wallets.utils.database.timestamp_loader import UtcLoader

        connection.connection.adapters.register_loader("timestamptz", UtcLoader)
