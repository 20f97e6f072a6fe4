"""The bank simulator: it pays, refuses, and fails like a real bank.

This module has the HTTP interface, the environment variables and the start. It never
answers about money before the decision is in the data file.
"""

import json
import os
import signal
import sqlite3
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from flask import Flask, Response, abort, request
from werkzeug.exceptions import RequestEntityTooLarge

from faults import LOOKUP_MODES, MODES, Decides, Faults
from orders import instant, read_object, read_order, read_payments
from replies import Answer, plain, redirected, without_echo
from server import Server, say
from store import Order, Store
from turns import OneAtATime

MAX_BODY = 64_000
UNDER_GUNICORN = __name__ != "__main__" and "gunicorn" in os.environ.get(
    "SERVER_SOFTWARE", ""
)


# --- answers ------------------------------------------------------------------------


def answer_to(order: Order, *, paid: bool) -> Answer:
    """Return the answer's fields: the two of the specification, and the echo."""
    answer: Answer = {"data": "success" if paid else "failed"}
    answer["status"] = 200 if paid else 503
    if order.reference is not None:
        answer |= {"reference": order.reference, "amount": order.amount}
    return answer


def problem(data: str, status: int, **details: Any) -> Response:
    """Return an answer whose HTTP status is the `status` of its body."""
    return plain({"data": data, "status": status, **details}, status)


# --- the HTTP interface -------------------------------------------------------------


class Face:
    """The view of each path, on one data file."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def pay(self) -> Response:
        try:
            order = read_order(
                request.get_data(cache=False), request.headers.get("Idempotency-Key")
            )
        except ValueError as error:
            return problem("invalid", 400, error=str(error))
        faults, draw = self._store.take_faults()
        decided = self._decide(order, faults, draw)
        if faults.latency:
            request.environ["bank.sleep"](faults.latency)
        if decided is None:
            return problem("conflict", 409, reference=order.reference)
        # A bare bank ignores the reference, so it cannot echo it.
        decided = without_echo(decided) if faults.bare else decided
        return MODES[faults.mode].reply(decided)

    def _decide(self, order: Order, faults: Faults, draw: float) -> Answer | None:
        """Return the answer, or None if the reference belongs to another order."""
        mode = MODES[faults.mode]
        paid = draw >= faults.failure_rate
        if mode.decides is not Decides.BY_RATE:
            paid = mode.decides is not Decides.REFUSES
        if mode.decides is Decides.NOTHING:
            return answer_to(order, paid=paid)
        decision = self._store.decide(
            order,
            paid=paid,
            bare=faults.bare or not faults.dedupes,
            delay=faults.booking_delay if mode.late else 0.0,
            copies=mode.copies,
        )
        # From here on the decision is in the file, even if the answer is lost.
        if decision.order != order:
            return None
        return answer_to(order, paid=decision.paid)

    def payments(self) -> Response:
        try:
            since, until = (
                instant(name, request.args.get(name)) for name in ("from", "to")
            )
        except ValueError as error:
            return problem("invalid", 400, error=str(error))
        lines = self._store.payments(since=since, until=until)
        return Response(json.dumps(lines), mimetype="application/json")

    def put_payments(self) -> Response:
        try:
            paid = read_payments(request.get_data(cache=False))
        except ValueError as error:
            return problem("invalid", 400, error=str(error))
        return plain({"new": self._store.take_over(paid)})

    def look_up(self, reference: str) -> Response:
        faults = self._store.faults()
        if faults.bare:
            abort(404)
        ill = LOOKUP_MODES[faults.lookup_mode]
        if ill is not None:
            return ill({"reference": reference})
        stale = faults.lookup_mode == "stale"
        age = faults.booking_delay if stale else 0.0
        decision = self._store.find(reference, age=age)
        if decision is None or faults.lookup_mode == "not_found":
            return problem("unknown", 404, reference=reference)
        answer = answer_to(decision.order, paid=decision.paid)
        return plain(
            without_echo(answer) if faults.lookup_mode == "no_echo" else answer
        )

    def get_faults(self) -> Response:
        return plain(asdict(self._store.faults()))

    def put_faults(self) -> Response:
        try:
            changes = read_object(request.get_data(cache=False))
            return plain(asdict(self._store.change_faults(changes)))
        except ValueError as error:
            return problem("invalid", 400, error=str(error))


def too_large(error: RequestEntityTooLarge) -> Response:
    """Refuse a body that is longer than any order."""
    return problem("invalid", 413, error=f"the body is over {MAX_BODY} bytes")


def create_app(store: Store) -> Flask:
    """Return the WSGI application on this data file."""
    app = Flask(__name__, static_folder=None)
    app.wsgi_app = OneAtATime(app.wsgi_app, MAX_BODY)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.register_error_handler(RequestEntityTooLarge, too_large)
    face = Face(store)
    for methods, path, view in (
        (["POST"], "/", face.pay),
        (["GET"], "/payments", face.payments),
        (["PUT"], "/payments", face.put_payments),
        (["GET"], "/payments/<path:reference>", face.look_up),
        (["GET"], "/faults", face.get_faults),
        (["PUT"], "/faults", face.put_faults),
        (["GET", "POST"], "/redirected", redirected),
    ):
        app.add_url_rule(path, view_func=view, methods=methods)
    return app


# --- the start ----------------------------------------------------------------------


def environment_faults() -> dict[str, Any]:
    """Return the fault settings that environment variables set explicitly."""
    explicit: dict[str, Any] = {}
    for field, kind in (("failure_rate", float), ("latency", float), ("seed", int)):
        name = f"BANK_{field.upper()}"
        text = os.environ.get(name)
        if text:
            try:
                explicit[field] = kind(text)
                Faults().changed({field: explicit[field]})
            except ValueError as error:
                stop(f"{name}={text}: {error}")
    return explicit


def server_run() -> str:
    """Return an id of this run of the server, the same for all workers of gunicorn."""
    pid = os.getppid() if UNDER_GUNICORN else os.getpid()
    try:
        # The start time distinguishes it from an earlier process with the same pid.
        status = Path(f"/proc/{pid}/stat").read_text()
        return f"{pid}/{status.rpartition(')')[2].split()[19]}"
    except OSError:
        return str(pid)


def open_store() -> Store:
    """Open the data file, or end with a message of one line."""
    explicit = environment_faults()
    default = Path(__file__).resolve().parent / "data" / "bank.sqlite3"
    path = Path(os.environ.get("BANK_DATA") or default)
    store = Store(path)
    try:
        store.start(server=server_run(), explicit=explicit)
    except (OSError, sqlite3.Error, TypeError, ValueError) as error:
        stop(f"BANK_DATA={path}: cannot be used as the data file: {error}")
    return store


def stop(reason: str) -> NoReturn:
    """End with a message of one line."""
    say(reason)
    # With any other code gunicorn would start the worker again, without end.
    sys.exit(4 if UNDER_GUNICORN else 2)


def main() -> None:
    """Serve until a signal ends the process."""
    host = os.environ.get("BANK_HOST") or "127.0.0.1"
    port = os.environ.get("BANK_PORT") or "8010"
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        stop(f"BANK_PORT={port}: must be a whole number from 0 to 65535")
    try:
        server = Server(host, int(port), app)
    except OSError as error:
        stop(f"cannot listen on {host}:{port}: {error.strerror or error}")
    say(f"listening on http://{host}:{server.server_port}")
    server.serve_forever()


app = create_app(open_store())

if UNDER_GUNICORN or __name__ == "__main__":
    # End at once, without waiting for open requests: every decision is in the file, as
    # after kill -9. (On Ctrl-C gunicorn sends SIGQUIT to its workers.)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda *_: os._exit(0))

if __name__ == "__main__":
    main()
