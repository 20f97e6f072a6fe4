"""Deliberately broken variants of the product, which the drills must detect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

Break = Callable[[], None]


def _refund_on_unknown() -> None:
    from wallets.models.states import Event
    from wallets.services.payouts import outcome

    honest = outcome.event_of

    def event_of(*args: Any) -> Event:
        event = honest(*args)
        return Event.REJECTED if event is Event.UNKNOWN else event

    outcome.event_of = event_of  # type: ignore[assignment]


def _no_quiet_period() -> None:
    from wallets.services.payouts import belief

    belief.quiet_period = belief.distance = lambda abilities: 0.0


def _no_lease() -> None:
    """A sender that does not check its lease."""
    from wallets.services.payouts import payout

    honest = payout.sending

    def sending(*args: Any) -> payout.Sending:
        return replace(honest(*args), send_before=float("inf"))

    payout.sending = sending  # type: ignore[assignment]


def _retry_what_was_cancelled() -> None:
    from wallets.models.states import TRANSITIONS, Event, Rule, State

    failed = State.FAILED_RETRYABLE
    TRANSITIONS[(failed, Event.CANCEL)] = Rule(failed)


# Each of these variants must make a drill fail.
BROKEN: dict[str, Break] = {
    "refund-on-unknown": _refund_on_unknown,
    "no-quiet-period": _no_quiet_period,
    "no-lease": _no_lease,
    "retry-cancelled": _retry_what_was_cancelled,
}
