"""Who made a movement. Nothing is written or locked.

A movement of an attempt is made by who made the change of the withdrawal to which it
belongs: a worker, or an operator. Whoever asked for the withdrawal has made neither. All
other movements are made by who asked for their transaction.
"""

from __future__ import annotations

from collections.abc import Iterable

from wallets.models.ledger import LEGS_OF_EVENTS, Movement
from wallets.models.transition import Transition
from wallets.utils.actors import told


def of_movements(rows: Iterable[Movement]) -> list[Movement]:
    """Set who made each, as others are told, and return all rows.

    One query if there are movements of attempts. "": the history has no change to which
    it belongs. The rows must have been read together with their transactions.
    """
    known = list(rows)
    withdrawals = {row.transaction_id for row in known if row.attempt_number}
    made = _made(withdrawals) if withdrawals else {}
    for row in known:
        if row.attempt_number:
            key = row.transaction_id, row.attempt_number, row.leg
            row.actor = made.get(key, "")
        else:
            row.actor = told(row.transaction.actor)
    return known


def _made(withdrawals: set[int]) -> dict[tuple[int, int | None, str], str]:
    """Return who made the movements, by withdrawal, attempt and leg."""
    changes = Transition.objects.filter(
        transaction__in=withdrawals, event__in=LEGS_OF_EVENTS
    )
    found = changes.order_by().values_list(
        "transaction_id", "attempt_number", "event", "actor"
    )
    return {
        (withdrawal, number, leg): told(actor)
        for withdrawal, number, event, actor in found
        for leg in LEGS_OF_EVENTS[event]
    }
