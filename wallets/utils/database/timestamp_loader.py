"""The reader of `wallets.utils.database.timestamps`; needs the driver, so it is loaded late."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from psycopg.types.datetime import TimestamptzLoader


class UtcLoader(TimestamptzLoader):
    """Reads `2026-02-17 12:00:00.25+00`; anything else as the driver does."""

    # Django checks this attribute.
    timezone = timezone.utc

    def load(self, data: Any) -> datetime:
        """Return the instant, in UTC."""
        text = bytes(data).decode()
        if text.endswith("+00"):
            seconds, _, fraction = text[:-3].partition(".")
            try:
                return datetime.fromisoformat(f"{seconds}.{fraction:0<6}+00:00")
            except ValueError:
                pass  # a year outside of Python's range
        return super().load(data)
