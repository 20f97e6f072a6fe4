"""Records that the bank has sent back what it had paid, as from a closed account.

The withdrawal stays COMPLETED, because the bank has paid it. A new entry gives the money
back to its wallet. Nothing is sent.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from wallets.errors import (
    AlreadyReturned,
    NotReturnable,
    ReturnTooLarge,
    WalletClosed,
)
from wallets.models.ledger import Movement
from wallets.models.payment_return import PaymentReturn
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.requests.checks import (
    check_actor,
    checked_amount,
    checked_words,
)
from wallets.services.requests.completed import completed
from wallets.utils import words
from wallets.utils.caller import Caller
from wallets.utils.database.transactions import database_now, run_in_transaction

_Type = Transaction.TransactionType


@dataclass(frozen=True)
class _Told:
    """What an operator knows about a return."""

    amount: int
    return_reference: str
    reason: str
    actor: str


def record_return(
    transaction_id: int,
    amount: int,
    *,
    return_reference: str,
    reason: str,
    actor: str,
    now: datetime | None = None,
) -> PaymentReturn:
    """Give `amount` (minor units) of a paid withdrawal back to its wallet.

    Opens its own transaction; locks the wallet. `return_reference` is what the bank calls
    the return. It may return less than it has paid, because of a fee. A withdrawal is
    returned once: the same reference and amount again return the first record. A frozen
    wallet takes the money, because it is the customer's; a closed one cannot.

    :raises InvalidInput: (a `ValueError`) reference, reason or actor is empty, too long
        or not printable.
    :raises InvalidAmount: (a `ValueError`) not an integer from 1 to 10**15.
    :raises NotReturnable: it is no withdrawal, or the books do not have it as paid.
    :raises AlreadyReturned: another return of it is recorded.
    :raises ReturnTooLarge: more than the bank has paid.
    :raises WalletClosed: the wallet is closed; the text says what to do.
    :raises BalanceLimit: the wallet has no room for the amount.
    :raises Transaction.DoesNotExist: no such transaction.
    """
    called = checked_words("reference", words.reference, return_reference) or ""
    why = checked_words("reason", words.reason, reason) or ""
    check_actor(actor)
    told = _Told(checked_amount(amount), called, why, actor)
    return run_in_transaction(lambda: _record(transaction_id, told, now))


def of_withdrawal(transaction_id: int) -> PaymentReturn | None:
    """Return the return of a withdrawal; None if none is recorded."""
    return PaymentReturn.objects.filter(withdrawal=transaction_id).first()


def _record(transaction_id: int, told: _Told, now: datetime | None) -> PaymentReturn:
    """Check and write the return. Call inside a transaction."""
    owners = Transaction.objects.values_list("wallet_id", flat=True)
    wallets = postings.lock_wallets([owners.get(pk=transaction_id)])
    # Read under the lock, which another record may have held.
    withdrawal = Transaction.objects.get(pk=transaction_id)
    made = of_withdrawal(transaction_id)
    if made is not None:
        return _made_before(made, told)
    paid = _payment(withdrawal)
    if told.amount > paid.amount:
        raise ReturnTooLarge(
            f"The bank paid {paid.amount} minor units, and {told.amount} were to be"
            " returned."
        )
    _check_wallet(wallets[withdrawal.wallet_id], told.amount)

    # After this point the return must be recorded.
    return _write(paid, told, wallets, now or database_now())


def _made_before(made: PaymentReturn, told: _Told) -> PaymentReturn:
    """Return the record that exists, if it is the same.

    :raises AlreadyReturned: it is another one.
    """
    if (made.return_reference, made.amount) == (told.return_reference, told.amount):
        return made
    raise AlreadyReturned(
        f"The return of withdrawal {made.withdrawal_id} is recorded: {made.amount}, by"
        f" transaction {made.credit_id}, under the bank's reference"
        f" {made.return_reference}."
    )


def _payment(withdrawal: Transaction) -> Movement:
    """Return the movement by which the money of a paid withdrawal has left.

    :raises NotReturnable: it is no withdrawal, or the books do not have it as paid.
    """
    pk = withdrawal.pk
    if withdrawal.transaction_type != _Type.WITHDRAWAL:
        raise NotReturnable(
            f"Transaction {pk} is a {withdrawal.transaction_type}, and no withdrawal."
        )
    if withdrawal.status != Transaction.Status.COMPLETED:
        raise NotReturnable(
            f"Withdrawal {pk} is {withdrawal.status}: the books do not have it as paid."
        )
    paid = withdrawal.movements.filter(kind=Movement.Kind.SETTLE).first()
    if paid is None:
        raise NotReturnable(
            f"Withdrawal {pk} is COMPLETED, and no money has left for it: run"
            " verify_ledger."
        )
    return paid


def _check_wallet(wallet: Wallet, amount: int) -> None:
    """Refuse money for which the wallet has no place. For a locked wallet."""
    try:
        postings.check_open(wallet)
    except WalletClosed as refusal:
        raise WalletClosed(
            f"{refusal} Deposit the money into another wallet of the customer, with the"
            " bank's reference, or pay it out outside of this service."
        ) from None
    postings.check_deposit(wallet, amount)


def _write(
    paid: Movement, told: _Told, wallets: dict[int, Wallet], now: datetime
) -> PaymentReturn:
    """Write the transaction, its movement, then the row that refers to both."""
    caller = Caller(told.actor, "")
    columns = completed(_Type.RETURN, told.amount, uuid.uuid4(), now, caller)
    credit = Transaction.objects.create(wallet_id=paid.wallet_id, **columns)
    postings.post([Posting(Movement.Kind.RETURN, credit)], wallets, now=now)
    return PaymentReturn.objects.create(
        wallet_id=paid.wallet_id,
        withdrawal_id=paid.transaction_id,
        attempt_number=paid.attempt_number,
        paid=paid.amount,
        amount=told.amount,
        credit_id=credit.pk,
        return_reference=told.return_reference,
        reason=told.reason,
        actor=told.actor,
        created_at=now,
    )
