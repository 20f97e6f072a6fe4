"""Finds one withdrawal, and locks it."""

from __future__ import annotations

import uuid

from wallets.errors import IllegalTransition
from wallets.models.states import Event, State
from wallets.models.transaction import Transaction
from wallets.services.reads.current import transactions_by_id
from wallets.utils.database.transactions import lock_rows

_WITHDRAWAL = Transaction.TransactionType.WITHDRAWAL


def id_of(
    wallet_uuid: uuid.UUID | str,
    transaction_id: int,
    *,
    event: Event,
    refusal: type[IllegalTransition],
) -> int:
    """Return the id of a withdrawal of this wallet; locks nothing.

    :raises IllegalTransition: of the class `refusal`: it is no withdrawal, so this event
        cannot happen to it.
    :raises Transaction.DoesNotExist: the wallet has no such transaction.
    """
    (found,) = transactions_by_id([(wallet_uuid, transaction_id)])
    if isinstance(found, Exception):
        raise found
    if found.transaction_type != _WITHDRAWAL:
        raise refusal(State.COMPLETED.value, event.value)
    return found.pk


def lock(transaction_id: int) -> Transaction:
    """Lock a withdrawal and return it. Call inside a transaction.

    :raises Transaction.DoesNotExist: no such withdrawal.
    """
    rows = Transaction.objects.filter(pk=transaction_id, transaction_type=_WITHDRAWAL)
    locked = lock_rows(rows)
    if not locked:
        raise Transaction.DoesNotExist(f"no withdrawal {transaction_id}")
    found: Transaction = locked[0]
    return found
