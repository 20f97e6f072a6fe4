"""The HTTP server of ``python app.py``: threads, HTTP/1.1, connections kept alive.

The servers of Python and Flask close the connection after every answer. This module
knows nothing about banks. Under load, use gunicorn.
"""

import io
import socketserver
import sys
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

MAX_BODY = 1_000_000
IDLE_SECONDS = 300  # Longer than the interval of the wallet's sweeps.


def say(line: str) -> None:
    """Log a line with the prefix "bank:", for a log of several programs."""
    sys.stderr.write(f"bank: {line}\n")
    sys.stderr.flush()


class _Answer(SimpleHandler):
    http_version = "1.1"
    # A request must not see the environment of the process.
    os_environ: dict[str, str] = {}


class Handler(WSGIRequestHandler):
    """One connection: serves one request after the other until the client leaves."""

    server: "Server"
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS

    def handle(self) -> None:
        with suppress(ConnectionError):
            BaseHTTPRequestHandler.handle(self)

    def respond(self) -> None:
        """Serve one request."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            self.refuse(HTTPStatus.LENGTH_REQUIRED)
        elif not (length.isascii() and length.isdigit()):
            self.refuse(HTTPStatus.BAD_REQUEST)
        elif len(length) > 9 or int(length) > MAX_BODY:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            # The whole body is read, so that the next request begins after it.
            self.answer(self.rfile.read(int(length)))

    def answer(self, body: bytes) -> None:
        """Run the application and send its answer."""
        environ = self.get_environ() | {"bank.socket": self.connection}
        sent = io.BytesIO()
        _Answer(io.BytesIO(body), sent, sys.stderr, environ).run(self.server.app)
        # Written at once: the second of two small packets would wait 40 ms for an ACK.
        self.wfile.write(sent.getvalue())
        if self.command in ("POST", "PUT"):
            self.log_message("%s %s", self.requestline, sent.getvalue()[9:12].decode())

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = respond

    def refuse(self, status: HTTPStatus) -> None:
        """Refuse a request whose end is unknown, and close its connection."""
        self.close_connection = True
        self.send_error(status)

    def log_error(self, format: str, *args: object) -> None:
        """Log nothing: the time-out of an idle connection is no error."""

    def log_message(self, format: str, *args: object) -> None:
        say(format % args)


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection; none of them keeps the process alive."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, app: Callable[..., Any]) -> None:
        super().__init__((host, port), Handler)
        self.app = app

    def server_bind(self) -> None:
        # Omits http.server's look-up of the host's name, which may use the network.
        socketserver.TCPServer.server_bind(self)
        self.server_name = str(self.server_address[0])
        self.server_port = self.server_address[1]
        self.setup_environ()
