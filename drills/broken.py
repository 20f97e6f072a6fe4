"""The product, broken on purpose: a drill that does not find these out proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

Break = Callable[[], None]


def _refund_on_unknown() -> None:
    from wallets.models.states import Event
    from wallets.services.payouts import payout

    honest = payout.event_of

    def event_of(*args: Any) -> Event:
        event = honest(*args)
        return Event.REJECTED if event is Event.UNKNOWN else event

    payout.event_of = event_of  # type: ignore[assignment]


def _no_quiet_period() -> None:
    from wallets.services.payouts import belief

    belief.quiet_period = belief.distance = lambda abilities: 0.0


def _no_lease() -> None:
    """A sender never looks whether its lease is over."""
    from wallets.services.payouts import payout

    honest = payout.sending

    def sending(*args: Any) -> payout.Sending:
        return replace(honest(*args), send_before=float("inf"))

    payout.sending = sending  # type: ignore[assignment]


# Deliberately wrong variants of the product: the drill must find each of them out.
BROKEN: dict[str, Break] = {
    "refund-on-unknown": _refund_on_unknown,
    "no-quiet-period": _no_quiet_period,
    "no-lease": _no_lease,
}
