"""Stopping all payouts and letting them go on, while the service runs.

The database says so, to every process at once: a claim asks in its own transaction, so
what is claimed after a pause was committed is nothing. The setting WITHDRAWALS_PAUSED is
the stronger switch: it stops the processes that have it, whatever the database says.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

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

MAX_REASON = 500


@dataclass(frozen=True)
class Standing:
    """Whether payouts are paused: by this process's setting, by an operator, or by both."""

    by_setting: bool
    pause: Pause | None

    @property
    def paused(self) -> bool:
        """Whether nothing is sent to the bank."""
        return self.by_setting or self.pause is not None


def is_paused() -> bool:
    """Whether nothing may be sent to the bank. One indexed row, unless the setting says so.

    Inside a transaction it is as fresh as any read there: a pause that was committed
    before is seen.
    """
    return settings.WITHDRAWALS_PAUSED or Pause.objects.filter(open=True).exists()


def standing() -> Standing:
    """Say by what payouts are paused, if they are."""
    return Standing(
        settings.WITHDRAWALS_PAUSED, Pause.objects.filter(open=True).first()
    )


def pause(*, reason: str, actor: str) -> Pause:
    """Stop all payouts. Where they are stopped already, the pause that lasts is returned.

    Opens its own transaction. What has been claimed is still sent and recorded: at most
    what a worker has in hand. Look-ups go on.

    :raises InvalidInput: no reason or no actor was given, or too much text.
    """
    if not reason.strip() or len(reason) > MAX_REASON:
        raise InvalidInput(f"Say why, in 1 to {MAX_REASON} characters.", field="reason")
    check_actor(actor)

    def work() -> Pause:
        # Two at once meet at the unique constraint: the second run sees the first one's.
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
    """Let payouts go on; return the pause that ended, None where there was none.

    Opens its own transaction. The setting WITHDRAWALS_PAUSED is not overridden.

    :raises InvalidInput: no actor was given.
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
        return ended

    return run_in_transaction(work)


def _subject(made: Pause) -> str:
    return f"payouts, pause {made.pk}"
