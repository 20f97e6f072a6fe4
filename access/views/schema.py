"""The documentation of the application's operations: it has none of its own."""

from __future__ import annotations

from typing import Any

OPERATIONS: dict[type, Any] = {}
PATHS: dict[str, Any] = {}
EXAMPLES: dict[str, Any] = {}
