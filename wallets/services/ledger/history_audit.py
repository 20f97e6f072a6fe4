"""Verifies the histories of withdrawals: reads everything, changes nothing.

A part of `services.ledger.ledger_audit`. Every withdrawal has had its transitions since
the first release, one for each version.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Value, Window
from django.db.models.functions import Coalesce, Lag, RowNumber

from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.ledger.finding import Finding

CHUNK = 2000
_Numbered = QuerySet[Transition, tuple[int, int]]
_Said = QuerySet[Transaction, tuple[int, "str | None", str]]
_WITHDRAWAL = Transaction.TransactionType.WITHDRAWAL


def verify_histories() -> Iterator[Finding]:
    """Yield the withdrawals whose transitions do not lead to their state."""
    broken = _broken().iterator(chunk_size=CHUNK)
    for pk, rows in groupby(broken, key=itemgetter(0)):
        number = next(rows)[1]
        detail = f"its transition {number} does not follow from the one before"
        yield Finding("history_gap", f"transaction {pk}", detail)
    for pk, said, state in _without_last().iterator(chunk_size=CHUNK):
        detail = f"it is {state}, its last transition says {said}"
        yield Finding("last_transition", f"transaction {pk}", detail)
    more = Transition.objects.filter(
        Q(sequence__gt=F("transaction__version"))
        | ~Q(transaction__transaction_type=_WITHDRAWAL)
    ).order_by()
    for pk, number in more.values_list("transaction", "sequence").iterator(
        chunk_size=CHUNK
    ):
        detail = f"the transaction knows nothing of its transition {number}"
        yield Finding("unknown_transition", f"transaction {pk}", detail)


def _broken() -> _Numbered:
    """Return the transitions that do not go on from the one before, in order."""
    its, number = F("transaction_id"), F("sequence").asc()
    before = Window(Lag("to_state"), partition_by=its, order_by=number)
    rows = Transition.objects.annotate(
        place=Window(RowNumber(), partition_by=its, order_by=number),
        # MariaDB's LAG has no default.
        state_before=Coalesce(before, Value("")),
    )
    broken = rows.filter(~Q(sequence=F("place") - 1) | ~Q(from_state=F("state_before")))
    return broken.order_by("transaction_id", "sequence").values_list(
        "transaction_id", "sequence"
    )


def _without_last() -> _Said:
    """Return withdrawals whose last transition is missing, or says another state."""
    last = Transition.objects.filter(
        transaction=OuterRef("pk"), sequence=OuterRef("version")
    )
    rows = Transaction.objects.filter(transaction_type=_WITHDRAWAL).annotate(
        stored=Transaction.state_in_sql()
    )
    wrong = rows.filter(~Exists(last.filter(to_state=OuterRef("stored"))))
    said = Subquery(last.values("to_state"))
    # An unknown status is a finding of its own.
    return wrong.exclude(stored="").order_by().values_list("pk", said, "stored")
