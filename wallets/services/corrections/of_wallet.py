"""Corrections as the API makes them: of a transaction of one wallet, as its owner sees it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from wallets.errors import BalanceLimit, InsufficientBalance
from wallets.models.base import MAX_MONEY
from wallets.models.correction import Correction
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.services.corrections.correction import correct_once
from wallets.services.reads.current import transactions_by_id
from wallets.utils.caller import Caller


@dataclass(frozen=True)
class CorrectionReceipt:
    """A correction, seen from the wallet whose transaction was named.

    `movement`: what it moved in this wallet. `key`: the idempotency key of its request.
    `replayed`: an earlier request with the key has made it. All is read: an answer is
    written without the database.
    """

    correction: Correction
    movement: Movement
    key: uuid.UUID
    replayed: bool


def correct_of(
    wallet_uuid: uuid.UUID,
    transaction_id: int,
    amount: int,
    *,
    reason: str,
    caller: Caller,
    idempotency_key: uuid.UUID | str | None = None,
) -> CorrectionReceipt:
    """Take back `amount` (minor units) of a deposit or a transfer of this wallet.

    As `correct`, which opens its own transaction. A refusal does not say what the other
    wallet of a transfer has.

    :raises Transaction.DoesNotExist: no such wallet, or it has no such transaction.
    :raises Exception: the refusals of `correct`.
    """
    (named,) = transactions_by_id([(wallet_uuid, transaction_id)])
    if isinstance(named, Exception):
        raise named
    try:
        made, replayed = correct_once(
            named.pk,
            amount,
            reason=reason,
            actor=caller.actor,
            tenant=caller.tenant,
            idempotency_key=idempotency_key,
        )
    except InsufficientBalance:
        if named.transaction_type == Transaction.TransactionType.TRANSFER_OUT:
            raise InsufficientBalance(
                "The wallet that got the money has not enough of it any more."
            ) from None
        raise
    except BalanceLimit:
        if named.transaction_type == Transaction.TransactionType.TRANSFER_IN:
            raise BalanceLimit(
                f"the wallet that paid holds {MAX_MONEY} at most"
            ) from None
        raise
    is_payer = made.payer_id == named.wallet_id
    mine = made.credit_id if is_payer and made.credit_id else made.debit_id
    movement = Movement.objects.get(transaction_id=mine)
    return CorrectionReceipt(made, movement, made.debit.idempotency_key, replayed)
