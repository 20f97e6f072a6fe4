"""Finds rows that cannot be read, and wrong times: changes nothing.

A part of `services.ledger.ledger_audit`, which must not end at the first such row.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from datetime import timezone as dt_timezone

from django.db.models import DateTimeField, Exists, F, Model, OuterRef, Q, Window
from django.db.models.functions import Lag
from django.db.models.lookups import LessThan

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


def goes_back() -> LessThan:
    """Return whether a movement's time is before that of the one before, for a query.

    A balance at a moment is one row because the times of a statement never decrease. The
    database compares them: a time that cannot be read would end the audit.
    """
    before = Window(
        Lag("created_at"), partition_by=F("wallet_id"), order_by=F("sequence").asc()
    )
    return LessThan(F("created_at"), before)


def verify_last_times() -> Iterator[Finding]:
    """Yield the wallets that do not have the time of their last movement.

    The next movement would be dated before it.
    """
    last = Movement.objects.filter(
        wallet=OuterRef("pk"), sequence=OuterRef("movement_count")
    )
    wrong = Wallet.objects.filter(
        Exists(last), ~Exists(last.filter(created_at=OuterRef("updated_at")))
    ).order_by()
    for uuid in wrong.values_list("uuid", flat=True).iterator(chunk_size=CHUNK):
        detail = "it does not have the time of its last movement"
        yield Finding("last_movement_time", f"wallet {uuid}", detail)
