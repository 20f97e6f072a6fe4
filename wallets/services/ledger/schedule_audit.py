"""Verifies the times of rescheduled withdrawals: reads everything, changes nothing.

A part of `services.ledger.ledger_audit`. The events of a withdrawal and the replay of
its request are read from these times.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import F, OuterRef, Q, Subquery

from wallets.models.states import Event
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.ledger.finding import Finding

CHUNK = 2000


def verify_schedules() -> Iterator[Finding]:
    """Yield withdrawals whose times are not those of their transitions."""
    made = Transition.objects.filter(event=Event.RESCHEDULE.value)
    last = made.filter(transaction=OuterRef("pk")).order_by("-sequence")
    rows = Transaction.objects.filter(first_scheduled_for__isnull=False)
    rows = rows.annotate(last=Subquery(last.values("scheduled_for")[:1]))
    wrong = rows.filter(Q(last=None) | ~Q(last=F("scheduled_for")))
    for pk in wrong.values_list("pk", flat=True).iterator(chunk_size=CHUNK):
        detail = "its time is not that of its last reschedule"
        yield Finding("scheduled_for", f"transaction {pk}", detail)
    lost = made.filter(transaction__first_scheduled_for=None)
    for pk in lost.values_list("transaction_id", flat=True).iterator(chunk_size=CHUNK):
        detail = "it was rescheduled, and the time of its request is missing"
        yield Finding("first_scheduled_for", f"transaction {pk}", detail)
