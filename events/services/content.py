"""The content of events: read from the rows of the ledger, which never change.

So an event reads the same for ever, and the feed stores no copy of it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Subquery

from events.models.event import Event, Source
from events.services import kinds
from wallets.models.correction import Correction
from wallets.models.ledger import Movement
from wallets.models.payment_return import PaymentReturn
from wallets.models.states import Event as Change
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.payouts.outcome import FAILURE_CODES
from wallets.services.reads import relations
from wallets.services.wallets import history
from wallets.utils import instants
from wallets.utils.actors import told

# The name space of the ids of events. It must never change.
_EVENTS = uuid.UUID("5f7f2c56-0e0b-4b0a-9a55-1d6f0a7f3c11")
_FAILURE_CODES = {event.value: code.value for event, code in FAILURE_CODES.items()}
_NOT_PAID = {State.FAILED_RETRYABLE.value, State.FAILED_FINAL.value}

# Columns that no event tells. They are not read: if one cannot be read, all other events
# of the page would wait for it.
_UNTOLD = ("created_at", "executed_at", "next_attempt_at", "unknown_since", "version")
_UNTOLD_OF_TRANSACTION = tuple(f"transaction__{name}" for name in _UNTOLD)

# The name of what happened, unique for ever, and its data.
_Content = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event with its content. `data` holds values of JSON only.

    `id` is a UUID that is made from what happened: the wallet, the client's idempotency
    key with its tenant, and the step; of what has no key, what was changed. It does not
    depend on the position or on ids of rows. So it stays the same if a backup is
    restored and the client asks again with its key.
    """

    position: int
    id: str
    type: str
    wallet: uuid.UUID
    created_at: datetime
    data: dict[str, Any]


def records(events: Sequence[Event]) -> list[EventRecord]:
    """Return the events with their content, in the same order.

    One to three queries for each source. Reads nothing that may still change.
    """
    wallet_ids = {event.wallet_id for event in events}
    rows = Wallet.objects.filter(pk__in=wallet_ids).values_list("pk", "uuid")
    wallets = dict(rows)
    contents = {
        source: content({row.source_id for row in events if row.source == source})
        for source, content in _CONTENTS.items()
    }
    return [
        _record(event, wallets[event.wallet_id], contents[event.source])
        for event in events
    ]


def _record(
    event: Event, wallet: uuid.UUID, contents: dict[int, _Content]
) -> EventRecord:
    name, data = contents[event.source_id]
    return EventRecord(
        position=event.position,
        id=str(uuid.uuid5(_EVENTS, f"{wallet} {name}")),
        type=event.type,
        wallet=wallet,
        created_at=event.created_at,
        data=data,
    )


def _of_wallets(ids: Iterable[int]) -> dict[int, _Content]:
    wallets = Wallet.objects.defer("created_at", "updated_at").in_bulk(ids)
    first = history.as_created(wallets.values())
    return {
        pk: (
            "created",
            {"balance": 0, "currency": one.currency, **first[pk]}
            | {"actor": one.created_by},
        )
        for pk, one in wallets.items()
    }


def _of_wallet_changes(ids: Iterable[int]) -> dict[int, _Content]:
    return {
        row.pk: _of_wallet_change(row)
        for row in WalletChange.objects.filter(pk__in=ids).order_by()
    }


def _of_wallet_change(row: WalletChange) -> _Content:
    # Nobody sends a key with a change. After a restore another one may get its number.
    said = f"{row.event} {row.before} {row.after} {row.reason}"
    return f"change {row.sequence} {said}", {
        "change": row.sequence,
        "before": json.loads(row.before),
        "after": json.loads(row.after),
        "reason": row.reason or None,
        "actor": row.actor,
    }


def _of_movements(ids: Iterable[int]) -> dict[int, _Content]:
    found = Movement.objects.filter(pk__in=ids).select_related("transaction")
    rows = list(found.defer(*_UNTOLD_OF_TRANSACTION, "transaction__scheduled_for"))
    parts = _of_deposits, _of_transfers, _of_corrections, _of_returns
    return {pk: one for part in parts for pk, one in part(rows).items()}


def _of_deposits(rows: Iterable[Movement]) -> dict[int, _Content]:
    return {
        row.pk: (f"{_name_of(row.transaction)} {row.kind}", _moved(row))
        for row in rows
        if row.kind == Movement.Kind.DEPOSIT
    }


def _of_transfers(rows: Iterable[Movement]) -> dict[int, _Content]:
    """Return the halves of transfers. The client's key is that of the debit."""
    halves = {row.pk: row for row in rows if row.transfer_id is not None}
    if not halves:
        return {}
    transfers = Transfer.objects.select_related("from_wallet", "to_wallet", "debit")
    known = transfers.in_bulk(
        {row.transfer_id for row in halves.values()}, field_name="uuid"
    )
    found = {}
    for pk, row in halves.items():
        transfer = known[row.transfer_id]
        key = transfer.debit.idempotency_key
        ends = {
            "transfer": str(transfer.uuid),
            "from": str(transfer.from_wallet.uuid),
            "to": str(transfer.to_wallet.uuid),
        }
        found[pk] = (
            f"{_name_of(transfer.debit)} {row.kind}",
            _moved(row) | ends | {"idempotency_key": str(key)},
        )
    return found


def _of_corrections(rows: Iterable[Movement]) -> dict[int, _Content]:
    """Return the entries of corrections. The client's key is that of the debit."""
    found = {}
    for kind, (mine, what) in relations.CORRECTIONS.items():
        # The kind of a movement is the type of its transaction, in small letters.
        posted = {row.transaction_id: row for row in rows if row.kind.upper() == kind}
        if not posted:
            continue
        made = Correction.objects.filter(**{f"{mine}__in": posted})
        for one in made.select_related("debit"):
            row = posted[getattr(one, f"{mine}_id")]
            found[row.pk] = f"{_name_of(one.debit)} {row.kind}", _moved(row) | {
                "idempotency_key": str(one.debit.idempotency_key),
                "corrects": getattr(one, f"{what}_id"),
                "reason": one.reason,
                "actor": one.actor,
            }
    return found


def _of_returns(rows: Iterable[Movement]) -> dict[int, _Content]:
    """Return the returns. As all events of a withdrawal they name it and its key."""
    posted = {
        row.transaction_id: row for row in rows if row.kind == Movement.Kind.RETURN
    }
    if not posted:
        return {}
    found = {}
    made = PaymentReturn.objects.filter(credit__in=posted)
    for one in made.select_related("withdrawal"):
        row = posted[one.credit_id]
        found[row.pk] = f"{_name_of(one.withdrawal)} return", _moved(row) | {
            "transaction": one.withdrawal_id,
            "idempotency_key": str(one.withdrawal.idempotency_key),
            "credit": one.credit_id,
            "return_reference": one.return_reference,
            "reason": one.reason,
            "actor": one.actor,
        }
    return found


def _name_of(transaction: Transaction) -> str:
    """Return what names a transaction within its wallet: its key, and whose it is."""
    key = str(transaction.idempotency_key)
    return f"{transaction.tenant} {key}" if transaction.tenant else key


def _moved(row: Movement) -> dict[str, Any]:
    """Return what is told of each movement."""
    return {
        "transaction": row.transaction_id,
        "idempotency_key": str(row.transaction.idempotency_key),
        "amount": row.amount,
        "sequence": row.sequence,
        "balance_after": row.balance_after,
        "actor": row.transaction.actor,
    }


def _of_transitions(ids: Iterable[int]) -> dict[int, _Content]:
    changes = Transition.objects.filter(pk__in=ids).order_by()
    rows = list(changes.select_related("transaction").defer(*_UNTOLD_OF_TRANSACTION))
    owners = {row.transaction_id for row in rows if row.event in kinds.LEGS}
    movements = {
        (one.transaction_id, one.attempt_number, one.leg): one
        for one in Movement.objects.filter(transaction_id__in=owners)
    }
    planned = _planned_times(rows)
    found = {}
    for row in rows:
        leg = kinds.LEGS.get(row.event, "")
        movement = movements.get((row.transaction_id, row.attempt_number or 0, leg))
        found[row.pk] = _of_transition(row, movement, planned[row.pk])
    return found


def _planned_times(rows: Iterable[Transition]) -> dict[int, datetime | None]:
    """Return the time that held after each change of a withdrawal, by the change's id.

    `rows` must have been read together with their withdrawals: a later reschedule then
    changes nothing. One query if one of them was rescheduled, otherwise none.
    """
    reschedules = Transition.objects.filter(
        transaction=OuterRef("transaction"),
        sequence__lte=OuterRef("sequence"),
        event=Change.RESCHEDULE.value,
    )
    last = reschedules.order_by("-sequence").values("scheduled_for")[:1]
    some = [row.pk for row in rows if row.transaction.first_scheduled_for is not None]
    changes = Transition.objects.filter(pk__in=some).order_by()
    known = dict(changes.annotate(held=Subquery(last)).values_list("pk", "held"))
    return {row.pk: known.get(row.pk) or row.transaction.requested_for for row in rows}


def _of_transition(
    row: Transition, movement: Movement | None, due: datetime | None
) -> _Content:
    withdrawal = row.transaction
    key = withdrawal.idempotency_key
    code = _FAILURE_CODES.get(row.event) if row.to_state in _NOT_PAID else None
    name = f"{_name_of(withdrawal)} {row.sequence} {row.event}"
    if row.scheduled_for is not None:
        # Nobody sends a key with a reschedule. After a restore it may get another time.
        name += f" {instants.write(row.scheduled_for)}"
    return name, {
        "transaction": row.transaction_id,
        "idempotency_key": str(key),
        "amount": withdrawal.amount,
        "scheduled_for": instants.write(due) if due else None,
        "status": State(row.to_state).status,
        "attempt": row.attempt_number,
        "failure_code": code,
        "sequence": movement.sequence if movement else None,
        "balance_after": movement.balance_after if movement else None,
        "actor": told(row.actor),
    }


_CONTENTS: dict[int, Callable[[set[int]], dict[int, _Content]]] = {
    Source.WALLET: _of_wallets,
    Source.MOVEMENT: _of_movements,
    Source.TRANSITION: _of_transitions,
    Source.WALLET_CHANGE: _of_wallet_changes,
}
