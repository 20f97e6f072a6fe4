"""Attempts at the bank: the only writer of their rows.

Whoever writes has locked the rows before, in the same transaction. What was read before
the lock is compared once more by the guard of each UPDATE.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from wallets.models.attempt import Attempt
from wallets.models.states import Event, State
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts.backoff import check_delay
from wallets.services.payouts.moment import Moment
from wallets.services.withdrawals.reference import reference_of
from wallets.utils.database.batch import (
    GuardedUpdate,
    as_new,
    guarded_updates,
    insert_rows,
)
from wallets.utils.database.transactions import guarded_update

_OUTCOME = {
    Event.ACCEPTED: Attempt.Outcome.ACCEPTED,
    Event.FOUND_PAID: Attempt.Outcome.ACCEPTED,
    Event.RESOLVE_PAID: Attempt.Outcome.ACCEPTED,
    Event.REJECTED: Attempt.Outcome.REJECTED,
    Event.FOUND_REJECTED: Attempt.Outcome.REJECTED,
    Event.NOT_SENT: Attempt.Outcome.NOT_SENT,
    Event.FOUND_NOTHING: Attempt.Outcome.NOT_FOUND,
    Event.RESOLVE_NOT_PAID: Attempt.Outcome.NOT_FOUND,
}
_OPERATOR_SAYS = {Event.RESOLVE_PAID, Event.RESOLVE_NOT_PAID}


@dataclass(frozen=True)
class Claimed:
    """What the attempts of one claim have in common: its token, and `sent_to.mark`."""

    sent_to: str
    token: uuid.UUID = field(default_factory=uuid.uuid4)


def begun(
    row: Transaction, wallet: Wallet, claim: Claimed, number: int, moment: Moment
) -> Attempt:
    """Return an attempt that begins at this moment, with a lease; not written yet.

    Read the moment after the locks are taken. Its elapsed time is read after the lease
    began, so that the counted time is never too long.
    """
    now = moment.now
    lease_expires_at = now + timedelta(seconds=settings.WITHDRAWAL_LEASE)
    attempt = as_new(
        Attempt,
        transaction_id=row.pk,
        number=number,
        created_at=now,
        reference=reference_of(row, wallet.uuid, number),
        claim_token=claim.token,
        sent_to=claim.sent_to,
        started_at=now,
        last_sent_at=now,
        lease_expires_at=lease_expires_at,
        next_check_at=lease_expires_at,
        waits=moment.begun(),
    )
    attempt.transaction = row
    return attempt


def insert(attempts: Sequence[Attempt]) -> None:
    """Write new attempts. Call inside the transaction of their claim.

    :raises IntegrityError: a withdrawal has an open attempt already.
    """
    insert_rows(Attempt, attempts)


def insert_paid(
    row: Transaction,
    number: int,
    reference: uuid.UUID,
    *,
    answer: str,
    token: uuid.UUID,
    paid_at: datetime,
    now: datetime,
) -> Attempt:
    """Write an attempt that the bank has paid and these books had no row of.

    `answer` is as `withdrawals.recorded` reads it.
    """
    return Attempt.objects.create(
        transaction=row,
        number=number,
        reference=reference,
        open=None,
        outcome=Attempt.Outcome.ACCEPTED,
        claim_token=token,
        answer=answer,
        sends=0,  # as far as these books know
        started_at=paid_at,
        last_sent_at=paid_at,
        lease_expires_at=paid_at,
        closed_at=now,
        created_at=now,
    )


def change(attempt: Attempt, *, now: datetime, **columns: Any) -> None:
    """Write these columns of an open attempt.

    :raises LostRace: another look-up has begun since the row was read.
    """
    guard = {"pk": attempt.pk, "open": True, "checks": attempt.checks}
    guarded_update(Attempt, guard, updated_at=now, **columns)


def put_off(pk: int, until: datetime) -> None:
    """Plan the next look-up of an attempt, where it is open, whatever else its row says.

    For rows that break a rule: no lock is needed, for nothing is read.
    """
    Attempt.objects.filter(pk=pk, open=True).update(next_check_at=until)


def after(
    attempt: Attempt,
    event: Event,
    to: State,
    *,
    evidence: str,
    http_status: int | None,
    now: datetime,
) -> GuardedUpdate:
    """Return the change of an attempt whose withdrawal an event moves `to` a state."""
    columns: dict[str, Any] = {"updated_at": now}
    if event not in _OPERATOR_SAYS:
        # The bank's answer stays with its attempt, whatever an operator finds out.
        columns |= {"answer": evidence, "http_status": http_status}
    if to is State.UNKNOWN:
        columns |= {
            "outcome": Attempt.Outcome.UNKNOWN,
            "next_check_at": now + check_delay(attempt.checks),
        }
    elif to is not State.NEEDS_REVIEW:
        columns |= {
            "outcome": _OUTCOME[event],
            "open": None,
            "closed_at": now,
            "next_check_at": None,
        }
    return GuardedUpdate(
        {"pk": attempt.pk, "open": True, "sends": attempt.sends}, columns
    )


def apply(changes: Sequence[GuardedUpdate]) -> None:
    """Write what `after` returned, all or none.

    :raises LostRace: one of the attempts has ended, or was sent again.
    """
    guarded_updates(Attempt, changes)
