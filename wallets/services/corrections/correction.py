"""Corrections: a new entry takes back what a deposit or a transfer moved wrongly.

Nothing is edited. The correction of a deposit takes money out of its wallet; the
correction of a transfer returns it to the wallet that paid. What a bank has returned is
corrected as a deposit.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from wallets.errors import (
    CorrectionTooLarge,
    DamagedRows,
    IdempotencyKeyReused,
    LostRace,
    NotCorrectable,
)
from wallets.models.correction import Correction
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.requests import idempotency
from wallets.services.requests.checks import (
    check_actor,
    checked_amount,
    checked_words,
)
from wallets.services.requests.completed import completed
from wallets.utils import words
from wallets.utils.caller import Caller
from wallets.utils.database.batch import as_new
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    database_now,
    run_in_transaction,
)

_Type = Transaction.TransactionType
# Of what came from outside: the leg of its movement.
_LEGS: dict[str, Movement.Leg] = {
    _Type.DEPOSIT: Movement.Leg.OPEN,
    _Type.RETURN: Movement.Leg.BANK,
}


@dataclass(frozen=True)
class Correctable:
    """What can be corrected of a deposit, a return or a transfer.

    `transaction` brought the money into its wallet; `payer` is the half in the wallet
    that paid, of a transfer. `left` is what is not corrected yet (minor units),
    `corrections` those that exist.
    """

    transaction: Transaction
    payer: Transaction | None
    corrections: list[Correction]

    @property
    def left(self) -> int:
        """What is not corrected yet, in minor units."""
        if self.corrections:
            return self.corrections[-1].left_after
        return self.transaction.amount

    @property
    def number(self) -> int:
        """The number of the next correction."""
        return len(self.corrections) + 1


def look(transaction_id: int) -> Correctable:
    """Return what can be corrected of this transaction; writes and locks nothing.

    Of a transfer either half may be named.

    :raises NotCorrectable: it is a withdrawal, whose money a bank paid, or itself a
        correction.
    :raises DamagedRows: it is half of a transfer that does not exist.
    :raises Transaction.DoesNotExist: no such transaction.
    """
    row = Transaction.objects.select_related("wallet").get(pk=transaction_id)
    payer = None
    if row.transaction_type in (_Type.TRANSFER_OUT, _Type.TRANSFER_IN):
        half = "debit" if row.transaction_type == _Type.TRANSFER_OUT else "credit"
        both = Transfer.objects.select_related(
            "debit", "debit__wallet", "credit", "credit__wallet"
        )
        transfer = both.filter(**{half: row.pk}).first()
        if transfer is None:
            raise DamagedRows(f"transaction {row.pk} is half of no transfer")
        row, payer = transfer.credit, transfer.debit
    elif row.transaction_type not in _LEGS:
        raise NotCorrectable(row.transaction_type)
    made = Correction.objects.filter(corrects=row).order_by("number")
    return Correctable(row, payer, list(made))


class Made(NamedTuple):
    """A correction, and whether an earlier request with its key has made it."""

    correction: Correction
    replayed: bool


def correct_once(
    transaction_id: int,
    amount: int,
    *,
    reason: str,
    actor: str,
    tenant: str = "",
    number: int | None = None,
    idempotency_key: uuid.UUID | str | None = None,
    now: datetime | None = None,
) -> Made:
    """Take back `amount` (minor units) of a deposit, return or transfer, and say why.

    Opens its own transaction; locks the wallets by id. Of a transfer both halves are
    corrected together: the money goes back. A frozen wallet can be corrected, a closed
    one cannot. `number`: the number that the correction was meant to have; it is
    refused if another one was made meanwhile. `tenant`: of a limited caller, to whom the
    key belongs. A repeated key returns the first correction.

    :raises InvalidInput: (a `ValueError`) reason or actor is empty, too long or not
        printable.
    :raises InvalidAmount: (a `ValueError`) not an integer from 1 to 10**15.
    :raises IdempotencyKeyReused: the key stands for another request.
    :raises NotCorrectable: a withdrawal or a correction (see `look`), or a transfer
        from or to a wallet of another tenant than the caller's.
    :raises CorrectionTooLarge: more than what is left to correct.
    :raises WalletClosed: one of the wallets is closed.
    :raises InsufficientBalance: the wallet has less than the amount now.
    :raises BalanceLimit: the wallet that paid has no room for the amount.
    :raises LostRace: another correction has this `number`.
    :raises Transaction.DoesNotExist: no such transaction.
    """
    why = checked_words("reason", words.reason, reason) or ""
    check_actor(actor)
    amount = checked_amount(amount)
    key = idempotency.parse_key(idempotency_key)
    asked = _Asked(amount, why, Caller(actor, tenant), number, key)
    return run_in_transaction(
        lambda: _correct(transaction_id, asked, now), patience=CLIENT_PATIENCE_SECONDS
    )


def correct(
    transaction_id: int,
    amount: int,
    *,
    reason: str,
    actor: str,
    number: int | None = None,
    idempotency_key: uuid.UUID | str | None = None,
    now: datetime | None = None,
) -> Correction:
    """Do the same as `correct_once`, and return the correction alone."""
    return correct_once(
        transaction_id,
        amount,
        reason=reason,
        actor=actor,
        number=number,
        idempotency_key=idempotency_key,
        now=now,
    ).correction


@dataclass(frozen=True)
class _Asked:
    """A requested correction."""

    amount: int
    reason: str
    caller: Caller
    number: int | None
    key: uuid.UUID


def _correct(transaction_id: int, asked: _Asked, now: datetime | None) -> Made:
    """Check and write the correction. Call inside a transaction."""
    found = look(transaction_id)
    halves = [one for one in (found.transaction, found.payer) if one is not None]
    wallets = postings.lock_wallets(one.wallet_id for one in halves)
    # Read again what another correction, which held the lock, may have changed.
    found = look(transaction_id)
    made = idempotency.find_made([asked.key], tenant=asked.caller.tenant)
    if made:
        return Made(_made_before(made[asked.key], found, asked), replayed=True)
    if asked.number is not None and asked.number != found.number:
        raise LostRace(f"there are {found.number - 1} corrections by now")
    if asked.amount > found.left:
        raise CorrectionTooLarge(
            f"{found.left} of {found.transaction.amount} minor units are left to correct,"
            f" {asked.amount} were asked for."
        )
    for wallet in wallets.values():
        if asked.caller.tenant not in ("", wallet.tenant):
            raise NotCorrectable("transfer between tenants")
        postings.check_open(wallet)
    postings.check_hold(wallets[found.transaction.wallet_id], asked.amount)
    if found.payer is not None:
        postings.check_deposit(wallets[found.payer.wallet_id], asked.amount)

    # After this point the correction must be written.
    written = _write(found, asked, wallets, now or database_now())
    return Made(written, replayed=False)


def _made_before(made: Transaction, found: Correctable, asked: _Asked) -> Correction:
    """Return the correction that has this key, if it was the same request.

    :raises IdempotencyKeyReused: it was another one.
    """
    said = asked.amount, asked.reason
    for one in found.corrections:
        if one.debit_id == made.pk and (one.amount, one.reason) == said:
            return one
    raise IdempotencyKeyReused("This key was used for another request before.")


def _write(
    found: Correctable, asked: _Asked, wallets: dict[int, Wallet], now: datetime
) -> Correction:
    """Write the transactions, the movements, then the row that refers to them."""
    debit = _entry(found.transaction, _Type.CORRECTION_OUT, asked, asked.key, now)
    entries = [(Movement.Kind.CORRECTION_OUT, debit)]
    payer: Mapping[str, Any] = {}
    if found.payer is not None:
        credit = _entry(found.payer, _Type.CORRECTION_IN, asked, uuid.uuid4(), now)
        entries.append((Movement.Kind.CORRECTION_IN, credit))
    rows = [row for _, row in entries]
    if idempotency.insert_new(rows):
        raise LostRace("another transaction has taken the key")
    if found.payer is not None:
        payer = {
            "payer_id": credit.wallet_id,
            "credit_id": credit.pk,
            "credit_corrects_id": found.payer.pk,
        }
    postings.post([Posting(*entry) for entry in entries], wallets, now=now)
    return Correction.objects.create(
        wallet_id=debit.wallet_id,
        corrects_id=found.transaction.pk,
        corrects_leg=_LEGS.get(found.transaction.transaction_type, Movement.Leg.IN),
        number=found.number,
        previous=found.number - 1 or None,
        amount=asked.amount,
        left_before=found.left,
        left_after=found.left - asked.amount,
        debit_id=debit.pk,
        reason=asked.reason,
        actor=asked.caller.actor,
        created_at=now,
        **payer,
    )


def _entry(
    corrected: Transaction, kind: str, asked: _Asked, key: uuid.UUID, now: datetime
) -> Transaction:
    """Return the new transaction that corrects this one."""
    columns = completed(kind, asked.amount, key, now, asked.caller)
    return as_new(Transaction, wallet_id=corrected.wallet_id, **columns)
