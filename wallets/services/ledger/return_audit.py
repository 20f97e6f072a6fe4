"""Verifies the returns: reads everything, changes nothing. `ledger_audit` calls it."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from wallets.models.ledger import Movement
from wallets.models.payment_return import PaymentReturn
from wallets.models.transaction import Transaction
from wallets.services.ledger.finding import Finding

_Type = Transaction.TransactionType
_SETTLE, _RETURN = Movement.Kind.SETTLE, Movement.Kind.RETURN


def verify_returns() -> Iterator[Finding]:
    """Yield what is wrong with the returns."""
    settle = _movement(_SETTLE, "withdrawal", _Type.WITHDRAWAL, "paid")
    paid = Exists(settle.filter(attempt_number=OuterRef("attempt_number")))
    given = Exists(_movement(_RETURN, "credit", _Type.RETURN, "amount"))
    for check, wrong, detail in (
        ("return_of_paid", ~paid, "the bank has not paid this by this attempt"),
        (
            "return_movement",
            ~given,
            "its movement is not that of its wallet and amount",
        ),
        ("return_too_large", Q(amount__gt=F("paid")), "more than was paid"),
    ):
        rows = PaymentReturn.objects.filter(wrong)
        for pk in rows.values_list("withdrawal", flat=True):
            yield Finding(check, f"return of withdrawal {pk}", detail)
    returned = PaymentReturn.objects.order_by().values("withdrawal")
    for row in returned.annotate(times=Count("pk")).filter(times__gt=1):
        detail = f"returned {row['times']} times"
        yield Finding("returned_twice", f"withdrawal {row['withdrawal']}", detail)
    its = PaymentReturn.objects.filter(credit=OuterRef("pk"))
    strays = Transaction.objects.filter(~Exists(its), transaction_type=_Type.RETURN)
    for pk in strays.values_list("pk", flat=True):
        yield Finding("transaction_return", f"transaction {pk}", "of no return")


def _movement(
    kind: str, transaction: str, transaction_type: str, amount: str
) -> QuerySet[Movement]:
    """Return the right movement of one transaction of the return outside."""
    return Movement.objects.filter(
        transaction=OuterRef(transaction),
        transaction__transaction_type=transaction_type,
        kind=kind,
        wallet=OuterRef("wallet"),
        amount=OuterRef(amount),
    )
