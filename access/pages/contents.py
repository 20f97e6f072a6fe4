"""What keys add to the console's navigation and alarms."""

from __future__ import annotations

from collections.abc import Mapping

from console.extensions import Link

LINKS = (Link("Keys", "key_pages:keys", "access.apikey"),)
ALARMS: Mapping[str, str] = {}
