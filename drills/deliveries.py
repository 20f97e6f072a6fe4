"""Reads the feed and its deliveries, and waits until everything has arrived."""

from __future__ import annotations

import contextlib
import time
from collections import Counter

from django.db.models import F

from drills import checker_feed, webhooks
from drills.checker_feed import Change
from drills.process import wait_until
from drills.report import Report
from drills.system import System
from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.models.event import Event
from events.services import feed, verify
from wallets.models.ledger import Movement
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.utils.database.transactions import read_snapshot

# From one delivery to the next, when there are no more faults: a lease and every retry.
STALLED_SECONDS = 60
# For all of them. A wallet's events are sent one after the other, so half an hour with
# few wallets leaves a long queue, which is no fault as long as it gets shorter.
ARRIVE_SECONDS = 3600
# The drill's own reading of the ledger, not the product's: the type of each row's event.
_MOVEMENTS = {
    "deposit": "deposit.completed",
    "transfer_out": "transfer.completed",
    "transfer_in": "transfer.received",
    "correction_out": "correction.posted",
    "correction_in": "correction.posted",
    "return": "withdrawal.returned",
}
_STATES = {
    "pending": "withdrawal.scheduled",
    "sending": "withdrawal.processing",
    "unknown": "withdrawal.unknown",
    "needs_review": "withdrawal.needs_review",
    "completed": "withdrawal.completed",
    "failed_retryable": "withdrawal.attempt_failed",
    "failed_final": "withdrawal.failed",
    "cancelled": "withdrawal.cancelled",
}
_EVENTS = {
    "reschedule": "withdrawal.rescheduled",
    "resend": "withdrawal.resent",
    "retry_now": "withdrawal.retry_requested",
}


def changes() -> list[Change]:
    """Return every committed change of the ledger, those of a withdrawal in order."""
    created = Wallet.objects.values_list("uuid", flat=True)
    moved = Movement.objects.filter(kind__in=_MOVEMENTS).order_by("pk")
    states = Transition.objects.order_by("transaction_id", "sequence")
    lives = WalletChange.objects.order_by("wallet_id", "sequence")
    return [
        *(Change("wallet.created", str(uuid)) for uuid in created),
        *(
            Change(_MOVEMENTS[kind], str(uuid), pk)
            for kind, uuid, pk in moved.values_list(
                "kind", "wallet__uuid", "transaction_id"
            )
        ),
        *(
            Change(_EVENTS.get(event) or _STATES[state], str(uuid), pk)
            for event, state, uuid, pk in states.values_list(
                "event", "to_state", "transaction__wallet__uuid", "transaction_id"
            )
        ),
        *(
            Change(f"wallet.{event}", str(uuid), sequence)
            for event, uuid, sequence in lives.values_list(
                "event", "wallet__uuid", "sequence"
            )
        ),
    ]


def left() -> int:
    """Return how many changes have no event, and how many deliveries wait."""
    last = feed.last_position()
    places = Endpoint.objects.filter(deleted_at=None).values_list("position", flat=True)
    behind = sum(max(0, last - place) for place in places)
    waiting = Delivery.objects.filter(open=True).count()
    off = Endpoint.objects.filter(enabled=False, deleted_at=None).count()
    made = Movement.objects.filter(kind__in=_MOVEMENTS).count()
    made += sum(model.objects.count() for model in (Wallet, Transition, WalletChange))
    return made - Event.objects.count() + waiting + behind + off


def arrive(this: System, report: Report) -> None:
    """Wait until all has arrived; an operator switches on what is off."""
    if this.receiver is None:
        return
    this.receiver.set_modes(webhooks.CALM)

    fewest, since = left(), time.monotonic()

    def done() -> bool:
        nonlocal fewest, since
        with contextlib.suppress(OSError):
            uuids = this.receiver.uuids.values() if this.receiver else ()
            report.switched_on += webhooks.switch_on_all(this.api.url, uuids)
        now_left = left()
        if now_left < fewest:
            fewest, since = now_left, time.monotonic()
        if time.monotonic() - since > STALLED_SECONDS:
            raise TimeoutError(f"webhooks have stood still for {STALLED_SECONDS} s")
        return now_left == 0

    try:
        report.arrived_after = wait_until(
            done, seconds=ARRIVE_SECONDS, what="webhooks to arrive", poll=1
        )
    except TimeoutError as error:
        report.wrongs.append(f"{error}: {left()} left, {_told()}")


def _told() -> str:
    """Return what the endpoints wait for, for people."""
    rows = Delivery.objects.filter(open=True).annotate(url=F("endpoint__url"))
    first = rows.values_list("url", "event_type", "attempts", "due_at", "answer")[:3]
    where = list(Endpoint.objects.values_list("url", "position", "off_because"))
    return f"{where}, feed {feed.last_position()}, first {list(first)}"


def judge(this: System, report: Report) -> None:
    """Compare ledger, feed and what the receiver got."""
    if this.receiver is None:
        return
    with read_snapshot():
        report.wrongs += [f"feed: {finding}" for finding in verify.verify()]
        if verify.waiting():
            report.wrongs.append(f"feed: {verify.waiting()} changes wait")
    told = webhooks.feed(this.api.url)
    report.events = len(told)
    report.wrongs += checker_feed.wrong_feed(changes(), told)
    lines = this.receiver.received()
    for hook, types in webhooks.TYPES.items():
        wanted = [event for event in told if not types or event["type"] in types]
        report.wrongs += checker_feed.wrong_receptions(hook, wanted, lines)
    seen = [(line["hook"], line["id"]) for line in lines if line["what"] == "seen"]
    report.delivered, report.repeated = len(set(seen)), len(seen) - len(set(seen))
    report.receiver = Counter(line["mode"] for line in lines if line["what"] == "seen")
