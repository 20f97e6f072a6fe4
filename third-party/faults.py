"""The faults that can be switched on, and what each looks like on the wire.

Lives here: the settings of ``/faults`` with their checks, one table of modes, and the
replies, down to the bytes where the bytes are the fault.
Must never happen here: deciding or recording a payment; ``store.py`` does that, before
any of these replies is given.
"""

import json
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

Answer = dict[str, Any]
Reply = Callable[[Answer], Response]

# Long enough for any client's deadline, short enough to leave nothing behind.
HANG_SECONDS = 60
DRIP_SECONDS = 0.5
HUGE_BYTES = 5_000_000


# --- replies that a server can give -------------------------------------------------


def plain(answer: Answer, status: int = 200) -> Response:
    """Answer honestly."""
    return Response(json.dumps(answer), status, mimetype="application/json")


def canned(body: str, mimetype: str = "application/json") -> Reply:
    """Answer 200 with this body, whatever was decided."""
    return lambda answer: Response(body, mimetype=mimetype)


def html(status: int) -> Reply:
    """Answer like a proxy in front of the bank, or a crashed bank."""
    return lambda answer: Response(f"<h1>Error {status}</h1>", status)


def redirect(status: int) -> Reply:
    """Send the client to a page of this bank that says "success" and pays nothing."""

    def reply(answer: Answer) -> Response:
        echo = {k: v for k, v in answer.items() if k in ("reference", "amount")}
        return Response("", status, {"Location": f"/redirected?{urlencode(echo)}"})

    return reply


def changed(**changes: Callable[[Answer], Any]) -> Reply:
    """Answer honestly but for these fields."""
    return lambda answer: plain(answer | {k: f(answer) for k, f in changes.items()})


def no_echo(answer: Answer) -> Response:
    """Answer the two fields of the specification only."""
    return plain({"data": answer["data"], "status": answer["status"]})


def duplicate_keys(answer: Answer) -> Response:
    """Say "success" and "failed" at once: most parsers keep the last, a refusal."""
    failed = json.dumps({"data": "failed", "status": 503})
    body = json.dumps(answer)[:-1] + ", " + failed[1:]
    return Response(body, mimetype="application/json")


def huge(answer: Answer) -> Response:
    """Answer honestly, but behind five million spaces."""
    body = " " * HUGE_BYTES + json.dumps(answer)
    return Response(body, mimetype="application/json")


# --- replies that need the connection itself ----------------------------------------


def take_over() -> socket.socket:
    """Take the connection away from the server, which keeps a dead one in its place.

    So a request that hangs for a minute holds no thread of the server, and what the
    server still writes goes nowhere (it sees a client that has left).
    """
    names = ("bank.socket", "gunicorn.socket", "werkzeug.socket")
    served = next(request.environ[name] for name in names if name in request.environ)
    taken = served.dup()
    dead, peer = socket.socketpair()
    peer.close()
    os.dup2(dead.fileno(), served.fileno(), inheritable=False)
    dead.close()
    taken.settimeout(HANG_SECONDS)
    return taken


def on_the_wire(act: Callable[[socket.socket, bytes, bytes], None]) -> Reply:
    """Let ``act(connection, head, body)`` answer, then close; the server goes on."""

    def reply(answer: Answer) -> Response:
        body = json.dumps(answer).encode()
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        taken = take_over()

        def run() -> None:
            # An OSError is a client that has left, which ends every one of these.
            with taken, suppress(OSError):
                act(taken, head, body)

        threading.Thread(target=run, daemon=True).start()
        return Response("")

    return reply


def _hang(connection: socket.socket, head: bytes, body: bytes) -> None:
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    poller.poll(HANG_SECONDS * 1000)


def _reset(connection: socket.socket, head: bytes, body: bytes) -> None:
    # Lingering for zero seconds makes close() send RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _close(connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def _truncate(connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.sendall(head + body[: len(body) // 2])


def _drip(connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.sendall(head)
    _drip_headers(connection, body, b"")


def _drip_headers(connection: socket.socket, head: bytes, body: bytes) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    for byte in head + body:
        if time.monotonic() > deadline:
            return
        connection.sendall(bytes([byte]))
        time.sleep(DRIP_SECONDS)


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
    # Paid, and the answer is lost.
    "accept_hang": Mode(Decides.PAYS, on_the_wire(_hang)),
    "accept_reset": Mode(Decides.PAYS, on_the_wire(_reset)),
    "accept_close": Mode(Decides.PAYS, on_the_wire(_close)),
    **{f"accept_{s}": Mode(Decides.PAYS, html(s)) for s in (500, 502, 503, 504)},
    "drip": Mode(Decides.PAYS, on_the_wire(_drip)),
    "drip_headers": Mode(Decides.PAYS, on_the_wire(_drip_headers)),
    "late_booking": Mode(Decides.PAYS, on_the_wire(_close), late=True),
    # Paid, and the answer cannot be believed.
    "garbage": Mode(Decides.PAYS, canned("{'data': success")),
    "empty": Mode(Decides.PAYS, canned("")),
    "null": Mode(Decides.PAYS, canned("null")),
    "list": Mode(Decides.PAYS, canned("[]")),
    "other_object": Mode(Decides.PAYS, canned('{"error": "try again"}')),
    "wrong_type": Mode(Decides.PAYS, canned("<h1>Payment failed</h1>", "text/html")),
    "truncated": Mode(Decides.PAYS, on_the_wire(_truncate)),
    "huge": Mode(Decides.PAYS, huge),
    "duplicate_keys": Mode(Decides.PAYS, duplicate_keys),
    "wrong_reference": Mode(
        Decides.PAYS, changed(reference=lambda answer: f"not-{answer.get('reference')}")
    ),
    "wrong_amount": Mode(
        Decides.PAYS, changed(amount=lambda answer: answer.get("amount", 0) + 1)
    ),
    # Paid, and answered; not as agreed.
    "no_echo": Mode(Decides.PAYS, no_echo),
    "pay_twice": Mode(Decides.PAYS, plain, copies=2),
    # Not paid, and nothing remembered: the order never reached the books.
    "reset": Mode(Decides.NOTHING, on_the_wire(_reset)),
    "error": Mode(Decides.NOTHING, html(500)),
    **{f"html_{s}": Mode(Decides.NOTHING, html(s)) for s in (403, 404, 407, 413, 429)},
    "redirect": Mode(Decides.NOTHING, redirect(302)),
    **{
        f"redirect_{s}": Mode(Decides.NOTHING, redirect(s))
        for s in (301, 303, 307, 308)
    },
}

# The look-up's own troubles; None leaves the answer to the books.
LOOKUP_MODES: dict[str, Reply | None] = {
    "normal": None,
    "not_found": None,
    "stale": None,
    "error": html(500),
    "hang": on_the_wire(_hang),
    "reset": on_the_wire(_reset),
    "garbage": canned("{'data': success"),
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

        A new mode without ``times`` lasts until changed: what is left of an earlier
        mode's ``times`` must not cut it short.
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
