"""Reads PostgreSQL's timestamps faster; a row has half a dozen of them.

The driver's reader for Django uses a regular expression. In drains and lists it took
more time than the query.
"""

from __future__ import annotations

from datetime import timezone
from typing import Any

from django.db.backends.signals import connection_created


def install() -> None:
    """Make every later connection to PostgreSQL use the fast reader."""
    connection_created.connect(_register, dispatch_uid="timestamps")


def _register(connection: Any, **_kwargs: Any) -> None:
    if connection.vendor == "postgresql" and connection.timezone is timezone.utc:
        from wallets.utils.database.timestamp_loader import UtcLoader

        connection.connection.adapters.register_loader("timestamptz", UtcLoader)
