"""The other side of a transfer. No table."""

from __future__ import annotations

import uuid
from typing import NamedTuple


class Counterparty(NamedTuple):
    """The other side of a transfer, as the clients of one side see it."""

    transfer: uuid.UUID
    wallet: uuid.UUID
    reference: str | None
