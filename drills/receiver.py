"""A receiver of webhooks that fails, hangs and lies; a process of its own.

`/all` and `/some` are its hooks. It verifies each signature with the standard's library
and writes what it got into a file, before it answers. A whole line of the file survives
its kill. `PUT /faults` sets how the hooks answer. A second address, which webhooks may not
be sent to, is where its redirects lead.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

HOOKS = ("all", "some")
# A loopback address that is not among the allowed networks.
FORBIDDEN_HOST = "127.0.0.2"
# How it answers. The courier may take those of the first group for a success: then the
# receiver must have the event.
TAKING = ("ok", "created", "garbage", "huge", "late", "two")
REFUSING = (
    *("status 500", "status 503", "status 404", "status 400", "status 429"),
    *("redirect", "hang", "reset", "close", "drip", "cut", "huge_head", "no_http"),
)
# It wants nothing any more: the endpoint is switched off at once.
GONE = "status 410"
MODES = (*TAKING, *REFUSING, GONE)
# Longer than a courier waits.
HANG_SECONDS = 6.0
LATE_SECONDS = 2.0
MAX_BODY = 1024 * 1024
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class Book:
    """What was received, one line of JSON each, in the order of time."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        # A kill can end a write in its middle. The line was not answered yet: drop it.
        os.ftruncate(self._file, path.read_bytes().rfind(b"\n") + 1)

    def write(self, what: str, hook: str, **more: Any) -> None:
        """Append a line, in one piece, with the time (Unix seconds)."""
        line = (
            json.dumps({"what": what, "hook": hook, "at": time.time(), **more}) + "\n"
        )
        os.write(self._file, line.encode())


class Hooks(ThreadingHTTPServer):
    """The server, with the secrets and the present fault of each hook."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, folder: Path) -> None:
        super().__init__((host, port), Handler)
        self.book = Book(folder / "received.jsonl")
        self._secrets = folder / "secrets.json"
        self.modes = dict.fromkeys(HOOKS, "ok")

    def verified(self, hook: str, body: bytes, headers: dict[str, str]) -> Any:
        """Return the event; None if no secret of the hook has signed it."""
        for secret in json.loads(self._secrets.read_text()).get(hook, []):
            try:
                return Webhook(secret).verify(body, headers)
            except (WebhookVerificationError, ValueError):
                continue
        return None


class Handler(BaseHTTPRequestHandler):
    """Receives one request and answers as the fault says."""

    server: Hooks
    timeout = 10
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the file has everything."""

    def do_PUT(self) -> None:
        """Set the faults of the hooks."""
        self.server.modes.update(json.loads(self._body()))
        self._answer(204)

    def do_GET(self) -> None:
        """Answer a followed redirect, and a question whether it is there."""
        if self.path != "/":
            self.server.book.write("trap", self.path)
        self._answer(204)

    def do_POST(self) -> None:
        """Take an event, or not."""
        hook = self.path.strip("/")
        body = self._body()
        if hook not in HOOKS or self.headers["Host"].startswith(FORBIDDEN_HOST):
            self.server.book.write("trap", hook)
            self._answer(204)
            return
        headers = {name: self.headers.get(name, "") for name in _HEADERS}
        event = self.server.verified(hook, body, headers)
        if event is None:
            self.server.book.write("forged", hook, body=body.decode("latin-1"))
            self._answer(401)
            return
        mode = self.server.modes[hook]
        told = {"id": headers["webhook-id"], "mode": mode}
        self.server.book.write("seen", hook, event=event, **told)
        if mode in TAKING:
            self.server.book.write("taken", hook, **told)
        self._behave(mode)

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(min(length, MAX_BODY))

    def _answer(
        self, status: int, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def _behave(self, mode: str) -> None:
        """Answer as the mode says; the courier may be gone."""
        self.close_connection = True
        try:
            if mode.startswith("status "):
                retry = {"Retry-After": "2"} if mode.endswith(("429", "503")) else {}
                self._answer(int(mode.split()[1]), b"no", retry)
            else:
                BEHAVIOURS[mode](self)
        except OSError:
            pass

    def ok(self) -> None:
        """Answer 200."""
        self._answer(200, b"ok")

    def created(self) -> None:
        """Answer 204, without content."""
        self._answer(204)

    def garbage(self) -> None:
        """Answer 200 with bytes that are no text, under a wrong type."""
        self._answer(200, os.urandom(500), {"Content-Type": "application/json"})

    def huge(self) -> None:
        """Answer 200 with a body that does not end."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        for _ in range(2000):
            self.wfile.write(b"x" * 10000)

    def late(self) -> None:
        """Answer 200 after the deadline."""
        time.sleep(LATE_SECONDS)
        self.ok()

    def two(self) -> None:
        """Answer twice."""
        one = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self.wfile.write(one + one.replace(b"200 OK", b"500 No"))

    def redirect(self) -> None:
        """Point to an address inside."""
        port = self.server.server_address[1]
        where = f"http://{FORBIDDEN_HOST}:{port}/trap"
        self._answer(302, b"", {"Location": where})

    def hang(self) -> None:
        """Say nothing."""
        time.sleep(HANG_SECONDS)

    def reset(self) -> None:
        """End the connection with a reset."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def close(self) -> None:
        """End the connection without an answer."""
        self.connection.shutdown(socket.SHUT_RDWR)

    def drip(self) -> None:
        """Answer byte by byte, and never come to an end."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        ends = time.monotonic() + HANG_SECONDS
        for letter in itertools.cycle(b"X-Slow: y\r\n"):
            if time.monotonic() > ends:
                return
            self.wfile.write(bytes([letter]))
            time.sleep(0.2)

    def cut(self) -> None:
        """Say 200, and end before the body does."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly")

    def huge_head(self) -> None:
        """Send headers without an end."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-Many: yes\r\n" * 5000)

    def no_http(self) -> None:
        """Answer with something that is not HTTP."""
        self.wfile.write(b"200 thanks, I have it\r\n\r\n")


Behaviour = Callable[[Handler], None]
BEHAVIOURS: dict[str, Behaviour] = {
    name: getattr(Handler, name) for name in MODES if not name.startswith("status ")
}


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    servers = [
        Hooks(host, options.port, options.folder)
        for host in ("127.0.0.1", FORBIDDEN_HOST)
    ]
    for trap in servers[1:]:
        threading.Thread(target=trap.serve_forever, daemon=True).start()
    print("receives", flush=True)
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
