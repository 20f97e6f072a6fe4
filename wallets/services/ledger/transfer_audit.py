"""Verifies the transfers: reads everything, changes nothing.

`ledger_audit` calls it. PostgreSQL and SQLite refuse most of this at COMMIT; MySQL and
MariaDB refuse less (docs/transfers.md says what).
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum

from wallets.models.ledger import Account, Movement
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.services.ledger.finding import Finding

_OUT, _IN = Movement.Kind.TRANSFER_OUT, Movement.Kind.TRANSFER_IN


def verify_transfers() -> Iterator[Finding]:
    """Yield what is wrong with the transfers."""
    yield from _verify_clearing()
    whole = Q(Exists(_half(_OUT, "debit", "from_wallet")))
    whole &= Q(Exists(_half(_IN, "credit", "to_wallet")))
    for uuid in Transfer.objects.exclude(whole).values_list("uuid", flat=True):
        detail = "its halves are not one movement each, of its wallets and its amount"
        yield Finding("transfer_halves", f"transfer {uuid}", detail)
    mixed = Transfer.objects.exclude(from_wallet__currency=F("to_wallet__currency"))
    for uuid in mixed.values_list("uuid", flat=True):
        detail = "its wallets have different currencies"
        yield Finding("transfer_currency", f"transfer {uuid}", detail)
    for kind, half in ((_OUT, "debit"), (_IN, "credit")):
        its = Transfer.objects.filter(
            uuid=OuterRef("transfer"), **{half: OuterRef("transaction")}
        )
        strays = Movement.objects.filter(~Exists(its), kind=kind)
        for pk in strays.values_list("pk", flat=True):
            yield Finding("movement_transfer", f"movement {pk}", "of no transfer")
    lone = Transaction.objects.filter(
        transaction_type__in=(
            Transaction.TransactionType.TRANSFER_OUT,
            Transaction.TransactionType.TRANSFER_IN,
        ),
        movements__isnull=True,
    )
    for pk in lone.values_list("pk", flat=True):
        detail = "half of a transfer without money"
        yield Finding("transfer_movement", f"transaction {pk}", detail)


def _verify_clearing() -> Iterator[Finding]:
    """Nothing may be left between two wallets."""
    total = Sum("amount")
    into = Movement.objects.filter(to_account=Account.CLEARING).aggregate(t=total)
    out = Movement.objects.filter(from_account=Account.CLEARING).aggregate(t=total)
    left = (into["t"] or 0) - (out["t"] or 0)
    if left:
        yield Finding("clearing", "clearing", f"movements leave {left} there, not 0")


def _half(kind: str, transaction: str, wallet: str) -> QuerySet[Movement]:
    """Return the right movement of one half of the transfer outside."""
    return Movement.objects.filter(
        transaction=OuterRef(transaction),
        transaction__transaction_type=kind.upper(),
        transfer=OuterRef("uuid"),
        kind=kind,
        wallet=OuterRef(wallet),
        amount=OuterRef("amount"),
    )
