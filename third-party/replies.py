"""The replies of the faults, as HTTP answers or as bytes on the connection.

`faults.py` chooses between them. This module never decides or records a payment.
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
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

Answer = dict[str, Any]
Reply = Callable[[Answer], Response]

# Longer than any client's deadline, and short, so that no thread stays for long.
HANG_SECONDS = 60
DRIP_SECONDS = 0.5
HUGE_BYTES = 5_000_000


# --- replies through the server -----------------------------------------------------


def plain(answer: Answer, status: int = 200) -> Response:
    """Send this answer unchanged."""
    return Response(json.dumps(answer), status, mimetype="application/json")


def canned(body: str, mimetype: str = "application/json") -> Reply:
    """Answer 200 with this body, whatever the decision was."""
    return lambda answer: Response(body, mimetype=mimetype)


def html(status: int) -> Reply:
    """Answer like a proxy in front of the bank, or like a crashed bank."""
    return lambda answer: Response(f"<h1>Error {status}</h1>", status)


def redirect(status: int) -> Reply:
    """Redirect to a page of this bank that answers "success" and pays nothing."""

    def reply(answer: Answer) -> Response:
        echo = {k: v for k, v in answer.items() if k in ("reference", "amount")}
        return Response("", status, {"Location": f"/redirected?{urlencode(echo)}"})

    return reply


def redirected() -> Response:
    """Answer "success" to a client that followed a redirect. Nothing is paid."""
    answer: Answer = {"data": "success", "status": 200}
    if "reference" in request.args:
        answer["reference"] = request.args["reference"]
        answer["amount"] = request.args.get("amount", type=int)
    return plain(answer)


def changed(**changes: Callable[[Answer], Any]) -> Reply:
    """Answer with these fields changed."""
    return lambda answer: plain(answer | {k: f(answer) for k, f in changes.items()})


def without_echo(answer: Answer) -> Answer:
    """Return only the two fields of the specification."""
    return {"data": answer["data"], "status": answer["status"]}


def no_echo(answer: Answer) -> Response:
    """Answer only with the two fields of the specification."""
    return plain(without_echo(answer))


def refused(status: int, *, about: str | None = None) -> Reply:
    """Fail a look-up with the body of a refused payment, whatever was decided."""

    def reply(answer: Answer) -> Response:
        echo = {} if about is None else {"reference": about + answer["reference"]}
        return plain({"data": "failed", "status": 503, **echo}, status)

    return reply


def duplicate_keys(answer: Answer) -> Response:
    """Answer "success" and "failed" with the same keys: most parsers keep the last."""
    failed = json.dumps({"data": "failed", "status": 503})
    body = json.dumps(answer)[:-1] + ", " + failed[1:]
    return Response(body, mimetype="application/json")


def huge(answer: Answer) -> Response:
    """Answer correctly, but after five million spaces."""
    body = " " * HUGE_BYTES + json.dumps(answer)
    return Response(body, mimetype="application/json")


# --- replies on the connection itself -----------------------------------------------


def take_over() -> socket.socket:
    """Take the connection from the server, and give it a closed one instead.

    So a request that hangs for a minute occupies no thread of the server. The server's
    further output is discarded: for the server the client has left.
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
    """Let ``act(connection, head, body)`` answer in a thread; close the connection."""

    def reply(answer: Answer) -> Response:
        body = json.dumps(answer).encode()
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        taken = take_over()

        def run() -> None:
            # An OSError means that the client has left; then the reply ends.
            with taken, suppress(OSError):
                act(taken, head, body)

        threading.Thread(target=run, daemon=True).start()
        return Response("")

    return reply


def hang(connection: socket.socket, head: bytes, body: bytes) -> None:
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    poller.poll(HANG_SECONDS * 1000)


def reset(connection: socket.socket, head: bytes, body: bytes) -> None:
    # With a linger time of 0, close() sends RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def truncate(connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.sendall(head + body[: len(body) // 2])


def drip(connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.sendall(head)
    drip_headers(connection, body, b"")


def drip_headers(connection: socket.socket, head: bytes, body: bytes) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    for byte in head + body:
        if time.monotonic() > deadline:
            return
        connection.sendall(bytes([byte]))
        time.sleep(DRIP_SECONDS)
