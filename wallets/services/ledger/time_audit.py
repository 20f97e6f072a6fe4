"""Finds rows that cannot be read, and impossible times: changes nothing.

A part of `services.ledger.ledger_audit`, which must not end at the first such row.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from datetime import timezone as dt_timezone

from django.db.models import DateTimeField, Model, Q

from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.ledger.finding import Finding
from wallets.utils.database.readable import PutAside

CHUNK = 2000
# Times of all engines are between these. Texts of SQLite that are no times, zero dates
# of MySQL and the infinity of PostgreSQL are not.
_FIRST = datetime(1000, 1, 2, tzinfo=dt_timezone.utc)
_LAST = datetime(9999, 12, 31, tzinfo=dt_timezone.utc)
_MODELS: tuple[type[Model], ...] = (
    Wallet,
    Transaction,
    Attempt,
    Transition,
    Movement,
    WalletChange,
)


class Unreadable:
    """The rows that a part of the audit could not read."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def of(self, table: str) -> PutAside:
        """Return what notes an unreadable row of this table, by its id."""

        def aside(pk: int, error: Exception) -> None:
            detail = f"cannot be read: {type(error).__name__}"
            self._found.append(Finding("unreadable", f"{table} {pk}", detail))

        return aside

    def findings(self) -> Iterator[Finding]:
        """Yield what was noted since the last call."""
        found, self._found = self._found, []
        yield from found


def verify_times() -> Iterator[Finding]:
    """Yield the rows with a time that no clock can have shown. Reads no time."""
    for model in _MODELS:
        wrong = Q()
        for field in model._meta.concrete_fields:
            if isinstance(field, DateTimeField):
                wrong |= Q(**{f"{field.name}__lt": _FIRST})
                wrong |= Q(**{f"{field.name}__gt": _LAST})
        rows = model._default_manager.filter(wrong).order_by()
        for pk in rows.values_list("pk", flat=True).iterator(chunk_size=CHUNK):
            row = f"{model._meta.model_name} {pk}"
            yield Finding("time", row, "a time of it is none")
