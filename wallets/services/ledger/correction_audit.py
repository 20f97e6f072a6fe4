"""Verifies the corrections: reads everything, changes nothing. `ledger_audit` calls it."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum

from wallets.models.correction import Correction
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.services.ledger.finding import Finding

_OUT, _IN = Movement.Kind.CORRECTION_OUT, Movement.Kind.CORRECTION_IN


def verify_corrections() -> Iterator[Finding]:
    """Yield what is wrong with the corrections."""
    of_transfer = Q(credit__isnull=False)
    both_halves = Transfer.objects.filter(
        credit=OuterRef("corrects"), debit=OuterRef("credit_corrects")
    )
    whole = Q(Exists(_movement(_OUT, "debit", "wallet")))
    whole &= ~of_transfer | (
        Q(Exists(_movement(_IN, "credit", "payer"))) & Q(Exists(both_halves))
    )
    for name in _names(Correction.objects.exclude(whole)):
        detail = "its movements are not those of its wallets and its amount"
        yield Finding("correction_movements", name, detail)
    begins = Correction.objects.filter(number=1)
    for name in _names(begins.exclude(left_before=F("corrects__amount"))):
        yield Finding("correction_begin", name, "does not begin with the whole amount")
    sums = Correction.objects.order_by().values("corrects", "corrects__amount")
    for row in sums.annotate(total=Sum("amount")).filter(
        total__gt=F("corrects__amount")
    ):
        detail = f"{row['total']} of {row['corrects__amount']} were taken back"
        yield Finding("corrected_twice", f"transaction {row['corrects']}", detail)
    for kind, part in ((_OUT, "debit"), (_IN, "credit")):
        its = Correction.objects.filter(**{part: OuterRef("transaction")})
        strays = Movement.objects.filter(~Exists(its), kind=kind)
        for pk in strays.values_list("pk", flat=True):
            yield Finding("movement_correction", f"movement {pk}", "of no correction")
        its = Correction.objects.filter(**{part: OuterRef("pk")})
        entries = Transaction.objects.filter(transaction_type=kind.upper())
        for pk in entries.filter(~Exists(its)).values_list("pk", flat=True):
            yield Finding(
                "transaction_correction", f"transaction {pk}", "of no correction"
            )


def _names(rows: QuerySet[Correction]) -> Iterator[str]:
    for corrects, number in rows.values_list("corrects", "number"):
        yield f"correction {corrects}/{number}"


def _movement(kind: str, transaction: str, wallet: str) -> QuerySet[Movement]:
    """Return the right movement of one part of the correction outside."""
    return Movement.objects.filter(
        transaction=OuterRef(transaction),
        transaction__transaction_type=kind.upper(),
        kind=kind,
        wallet=OuterRef(wallet),
        amount=OuterRef("amount"),
    )
