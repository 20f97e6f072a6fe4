"""The faults that can be switched on: the settings of ``/faults``, and the modes.

This module never decides or records a payment: ``store.py`` does so, before the reply.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from replies import (
    Reply,
    canned,
    changed,
    close,
    drip,
    drip_headers,
    duplicate_keys,
    hang,
    html,
    huge,
    no_echo,
    on_the_wire,
    plain,
    redirect,
    refused,
    reset,
    truncate,
)

# --- the modes ----------------------------------------------------------------------


class Decides(Enum):
    """What the bank does with an order, before the reply."""

    BY_RATE = "refuses at the failure rate"
    PAYS = "pays"
    REFUSES = "refuses"
    NOTHING = "never sees it"


@dataclass(frozen=True)
class Mode:
    """A way to treat payment orders."""

    decides: Decides
    reply: Reply
    copies: int = 1
    late: bool = False


MODES = {
    "normal": Mode(Decides.BY_RATE, plain),
    "refuse": Mode(Decides.REFUSES, plain),
    # Paid, but the answer is lost.
    "accept_hang": Mode(Decides.PAYS, on_the_wire(hang)),
    "accept_reset": Mode(Decides.PAYS, on_the_wire(reset)),
    "accept_close": Mode(Decides.PAYS, on_the_wire(close)),
    **{f"accept_{s}": Mode(Decides.PAYS, html(s)) for s in (500, 502, 503, 504)},
    "drip": Mode(Decides.PAYS, on_the_wire(drip)),
    "drip_headers": Mode(Decides.PAYS, on_the_wire(drip_headers)),
    "late_booking": Mode(Decides.PAYS, on_the_wire(close), late=True),
    # Paid, but the answer is no proof.
    "garbage": Mode(Decides.PAYS, canned("{'data': success")),
    "empty": Mode(Decides.PAYS, canned("")),
    "null": Mode(Decides.PAYS, canned("null")),
    "list": Mode(Decides.PAYS, canned("[]")),
    "other_object": Mode(Decides.PAYS, canned('{"error": "try again"}')),
    "wrong_type": Mode(Decides.PAYS, canned("<h1>Payment failed</h1>", "text/html")),
    "truncated": Mode(Decides.PAYS, on_the_wire(truncate)),
    "huge": Mode(Decides.PAYS, huge),
    "duplicate_keys": Mode(Decides.PAYS, duplicate_keys),
    "wrong_reference": Mode(
        Decides.PAYS, changed(reference=lambda answer: f"not-{answer.get('reference')}")
    ),
    "wrong_amount": Mode(
        Decides.PAYS, changed(amount=lambda answer: answer.get("amount", -1) + 1)
    ),
    # Paid and answered, but not as the bank declared.
    "no_echo": Mode(Decides.PAYS, no_echo),
    "pay_twice": Mode(Decides.PAYS, plain, copies=2),
    # Not paid and not recorded: the order never reached the bank's books.
    "reset": Mode(Decides.NOTHING, on_the_wire(reset)),
    "error": Mode(Decides.NOTHING, html(500)),
    **{f"html_{s}": Mode(Decides.NOTHING, html(s)) for s in (403, 404, 407, 413, 429)},
    "redirect": Mode(Decides.NOTHING, redirect(302)),
    **{
        f"redirect_{s}": Mode(Decides.NOTHING, redirect(s))
        for s in (301, 303, 307, 308)
    },
}

# The faults of the look-up. With None the answer comes from the data file; "no_echo"
# removes the echo from it.
LOOKUP_MODES: dict[str, Reply | None] = {
    "normal": None,
    "not_found": None,
    "stale": None,
    "error": html(500),
    "hang": on_the_wire(hang),
    "reset": on_the_wire(reset),
    "garbage": canned("{'data': success"),
    # A failed look-up, with a body like that of a refused payment.
    "refuses_503": refused(503),
    "refuses_200": refused(200),
    "another_payment": refused(200, about="not-"),
    "busy_429": lambda answer: plain({"data": "busy", "status": 429}, 429),
    "html_200": canned("<h1>Welcome</h1>", "text/html"),
    "no_echo": None,
}


# --- the settings -------------------------------------------------------------------


@dataclass(frozen=True)
class Faults:
    """The settings of ``/faults``."""

    failure_rate: float = 0.1
    latency: float = 0.0
    mode: str = "normal"
    times: int | None = None
    bare: bool = False
    dedupes: bool = True
    lookup_mode: str = "normal"
    booking_delay: float = 0.8
    seed: int | None = None

    def changed(self, changes: dict[str, Any]) -> "Faults":
        """Return these settings with the changes; raises ``ValueError`` if one is bad.

        A new mode without ``times`` lasts until it is changed: the rest of an earlier
        mode's ``times`` must not end it.
        """
        for name, value in changes.items():
            if name not in CHECKS:
                raise ValueError(f"unknown field {name!r}; known: {', '.join(CHECKS)}")
            is_valid, rule = CHECKS[name]
            if not is_valid(value):
                raise ValueError(f"{name} must be {rule}")
        if "mode" in changes:
            changes = {"times": None} | changes
        return replace(self, **changes)


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and low <= value <= high


def _whole_or_null(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: value is None or (type(value) is int and low <= value <= high)


def _one_of(names: dict[str, Any]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in names


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "failure_rate": (_number(0, 1), "a number from 0 to 1"),
    "latency": (_number(0, 600), "a number of seconds from 0 to 600"),
    "mode": (_one_of(MODES), f"one of {', '.join(MODES)}"),
    "times": (_whole_or_null(1, 10**6), "a whole number from 1 to 1000000, or null"),
    "bare": (lambda value: isinstance(value, bool), "true or false"),
    "dedupes": (lambda value: isinstance(value, bool), "true or false"),
    "lookup_mode": (_one_of(LOOKUP_MODES), f"one of {', '.join(LOOKUP_MODES)}"),
    "booking_delay": (_number(0, 600), "a number of seconds from 0 to 600"),
    "seed": (_whole_or_null(0, 2**53), "a whole number from 0 to 2**53, or null"),
}
