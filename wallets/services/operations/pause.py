"""Pauses and resumes all payouts while the service runs.

A pause is a row of the database, which each claim reads in its own transaction. So no
claim begins after a pause is committed. The setting WITHDRAWALS_PAUSED is stronger: it
stops each process that has it, whatever the database says.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from wallets.errors import InvalidInput
from wallets.models.alarm import Alarm
from wallets.models.pause import Pause
from wallets.services.operations import alarm
from wallets.services.requests.checks import check_actor
from wallets.utils.database.transactions import (
    database_now,
    guarded_update,
    lock_rows,
    run_in_transaction,
)
from wallets.utils.messaging import broker

MAX_REASON = 500
# The evidence of an attempt that a pause has stopped before its first byte.
WITHDRAWN = "payouts were paused before it was sent"


@dataclass(frozen=True)
class Standing:
    """Whether payouts are paused: by this process's setting, an operator, or both."""

    by_setting: bool
    pause: Pause | None

    @property
    def paused(self) -> bool:
        """Whether no payment is sent to the bank."""
        return self.by_setting or self.pause is not None


def is_paused() -> bool:
    """Whether no payment may be sent to the bank. Reads at most one indexed row.

    May be called inside a transaction: it sees every pause that was committed before.
    """
    return settings.WITHDRAWALS_PAUSED or Pause.objects.filter(open=True).exists()


def standing() -> Standing:
    """Return how payouts are paused, if they are."""
    return Standing(
        settings.WITHDRAWALS_PAUSED, Pause.objects.filter(open=True).first()
    )


def pause(*, reason: str, actor: str) -> Pause:
    """Pause all payouts; return the pause, also if it existed already.

    Opens its own transaction. Workers take back what they have claimed and not sent;
    what may have been sent is recorded. Look-ups go on.

    :raises InvalidInput: reason or actor is empty or too long.
    """
    if not reason.strip() or len(reason) > MAX_REASON:
        raise InvalidInput(f"Say why, in 1 to {MAX_REASON} characters.", field="reason")
    check_actor(actor)

    def work() -> Pause:
        # Two concurrent pauses conflict at the unique constraint: the second one runs
        # again and finds the first one's row.
        lasting = Pause.objects.filter(open=True).first()
        if lasting is not None:
            return lasting
        now = database_now()
        made = Pause.objects.create(
            paused_at=now, paused_by=actor, reason=reason.strip()
        )
        alarm.raise_alarm(
            Alarm.Kind.PAYOUTS_PAUSED,
            subject=_subject(made),
            detail=f"{actor}: {made.reason}",
            now=now,
        )
        return made

    return run_in_transaction(work)


def resume(*, actor: str) -> Pause | None:
    """Resume payouts; return the pause that ended, or None if there was none.

    Opens its own transaction, and wakes workers after it. It does not override the
    setting WITHDRAWALS_PAUSED.

    :raises InvalidInput: the actor is empty or too long.
    """
    check_actor(actor)

    def work() -> Pause | None:
        lasting = lock_rows(Pause.objects.filter(open=True))
        if not lasting:
            return None
        (ended,) = lasting
        now = database_now()
        guarded_update(
            Pause,
            {"pk": ended.pk, "open": True},
            open=None,
            resumed_at=now,
            resumed_by=actor,
        )
        alarm.end_pause(_subject(ended), actor=actor, now=now)
        transaction.on_commit(_wake_workers, robust=True)
        return ended

    return run_in_transaction(work)


def _wake_workers() -> None:
    broker.wake_up(broker.DRAIN_PENDING)
    broker.wake_up(broker.DRAIN_RETRYABLE)


def _subject(made: Pause) -> str:
    return f"payouts, pause {made.pk}"
