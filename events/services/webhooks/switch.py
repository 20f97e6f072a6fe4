"""Switching endpoints off and on. An endpoint keeps its place while it is off."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db.models import Q

from events.models.delivery import OPEN, Delivery
from events.models.endpoint import Endpoint
from wallets.services.operations import alarm
from wallets.utils.database.transactions import guarded_update

logger = logging.getLogger(__name__)

# The kinds of alarms about endpoints.
SWITCHED_OFF = "webhook_off"
NO_SECRET = "webhook_no_secret"  # noqa: S105 (the name of an alarm)

_SENTENCES = {
    Endpoint.OffBecause.FAILING: "The last attempt of a delivery has failed.",
    Endpoint.OffBecause.GONE: "It answered 410, so it wants no events any more.",
}

OffBecause = Endpoint.OffBecause


def off(endpoint: Endpoint, because: OffBecause, *, detail: str, now: datetime) -> None:
    """Switch the endpoint off with an alarm, if it is on.

    Call inside a transaction that holds the endpoint's lock. Deliveries stay as they
    are.
    """
    if not endpoint.enabled:
        return
    endpoint.switched_off += 1
    guarded_update(
        Endpoint,
        {"pk": endpoint.pk, "enabled": True},
        enabled=False,
        off_because=because,
        switched_off=endpoint.switched_off,
        updated_at=now,
    )
    endpoint.enabled, endpoint.off_because = False, because
    alarm.raise_alarm(
        SWITCHED_OFF,
        subject=subject_of(endpoint),
        attempt_number=endpoint.switched_off,
        detail=f"{endpoint.url}: {_SENTENCES[because]} {detail}".strip(),
        now=now,
    )


def off_by_hand(endpoint: Endpoint, *, actor: str, now: datetime) -> None:
    """Switch the endpoint off, if it is on. As `off`, without an alarm."""
    if endpoint.enabled:
        guarded_update(
            Endpoint,
            {"pk": endpoint.pk, "enabled": True},
            enabled=False,
            off_because=OffBecause.SWITCHED_OFF,
            updated_at=now,
        )
        endpoint.enabled, endpoint.off_because = False, OffBecause.SWITCHED_OFF
        logger.info("webhook %s switched off by %s", endpoint.uuid, actor)


def on(endpoint: Endpoint, *, actor: str, now: datetime) -> None:
    """Switch the endpoint on, if it is off; it goes on where it stopped.

    Call inside a transaction that holds the endpoint's lock. Open deliveries begin
    their attempts anew, at once. The alarms of its failures end.
    """
    if endpoint.enabled:
        return
    guarded_update(
        Endpoint,
        {"pk": endpoint.pk, "enabled": False, "deleted_at": None},
        enabled=True,
        off_because=OffBecause.NOT_OFF,
        updated_at=now,
    )
    endpoint.enabled, endpoint.off_because = True, OffBecause.NOT_OFF
    begin_anew(endpoint, now=now)
    alarm.end(SWITCHED_OFF, subject_of(endpoint), actor=actor, now=now)
    logger.info("webhook %s switched on by %s", endpoint.uuid, actor)


def begin_anew(endpoint: Endpoint, *, now: datetime) -> None:
    """Forget the failures and a wish for quiet: open deliveries begin anew, at once.

    Call inside a transaction that holds the endpoint's lock. What is under way keeps its
    lease; its result is known to be from before by `beginnings`.
    """
    endpoint.beginnings += 1
    guarded_update(
        Endpoint,
        {"pk": endpoint.pk},
        beginnings=endpoint.beginnings,
        failures_in_row=0,
        quiet_until=None,
        busy_until=None,
        moved_at=now,
        updated_at=now,
    )
    endpoint.failures_in_row, endpoint.quiet_until = 0, None
    endpoint.busy_until = None
    # Only what changes is written: very many may wait behind one that has failed.
    waiting = Delivery.objects.filter(OPEN, endpoint=endpoint)
    waiting.filter(Q(due_at__gt=now) | Q(failures__gt=0), lease_token=None).update(
        due_at=now, failures=0, updated_at=now
    )
    waiting.filter(failures__gt=0).update(failures=0)


def tell_unreadable_secret(endpoint: Endpoint, *, now: datetime) -> None:
    """Raise the alarm that events cannot be signed for this endpoint.

    Call inside a transaction that holds the endpoint's lock. There is one alarm from the
    first failure until events are signed again, also if it was acknowledged meanwhile;
    and none beside one that is open, because processes may have different keys.
    """
    subject = subject_of(endpoint)
    if endpoint.unsigned_since is not None or _is_told(subject):
        return
    endpoint.unsigned_since, endpoint.unsigned_times = now, endpoint.unsigned_times + 1
    guarded_update(
        Endpoint,
        {"pk": endpoint.pk},
        unsigned_since=now,
        unsigned_times=endpoint.unsigned_times,
    )
    alarm.raise_alarm(
        NO_SECRET,
        subject=subject,
        attempt_number=endpoint.unsigned_times,
        detail=(
            f"{endpoint.url}: SECRET_KEY is not the one that its secret was derived "
            "from. Set the old key in SECRET_KEY_FALLBACKS, or rotate the secret."
        ),
        now=now,
    )


def _is_told(subject: str) -> bool:
    told = alarm.unacknowledged().filter(kind=NO_SECRET, subject=subject)
    return bool(told.exists())


def is_signed_again(endpoint: Endpoint) -> None:
    """Note that events are signed; the next failure is an alarm of its own.

    Call as `tell_unreadable_secret`. The alarm stays until somebody has looked at it.
    """
    if endpoint.unsigned_since is not None:
        guarded_update(Endpoint, {"pk": endpoint.pk}, unsigned_since=None)
        endpoint.unsigned_since = None


def end_unreadable_secret(endpoint: Endpoint, *, actor: str, now: datetime) -> None:
    """Close that alarm. Call inside the transaction that gives it a new secret."""
    is_signed_again(endpoint)
    alarm.end(NO_SECRET, subject_of(endpoint), actor=actor, now=now)


def end_alarms(endpoint: Endpoint, *, actor: str, now: datetime) -> None:
    """Close all alarms about it. Call inside the transaction that deletes it."""
    for kind in (SWITCHED_OFF, NO_SECRET):
        alarm.end(kind, subject_of(endpoint), actor=actor, now=now)


def subject_of(endpoint: Endpoint) -> str:
    """Return the endpoint's name in alarms."""
    return f"webhook {endpoint.uuid}"
