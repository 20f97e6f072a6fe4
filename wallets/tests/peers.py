"""Servers on loopback that misbehave, for tests of the bank's client."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

Script = Callable[["Line"], None]


class Line:
    """One connection to a peer. `number` counts connections from 1."""

    def __init__(self, sock: socket.socket, number: int, ended: threading.Event):
        self.sock = sock
        self.number = number
        self.ended = ended
        self._rest = b""

    def read_request(self) -> bytes:
        """Return the next request, head and body; b"" if the client has left."""
        data, end = bytearray(self._rest), b"\r\n\r\n"
        searched = 0  # so that a head of many megabytes is searched once
        while data.find(end, searched) < 0:
            searched = max(0, len(data) - len(end))
            more = self.sock.recv(65536)
            if not more:
                return b""
            data += more
        head, _, body = bytes(data).partition(end)
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            body += self.sock.recv(65536)
        self._rest = body[length:]
        return head + end + body[:length]

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: Iterable[int], pause: float = 0.05) -> None:
        """Send byte by byte, until the client leaves."""
        for byte in data:
            if self.ended.wait(pause):
                return
            self.sock.sendall(bytes([byte]))

    def hang(self) -> None:
        """Send nothing until the client leaves or the test ends."""
        self.sock.settimeout(0.05)
        while not self.ended.is_set():
            with suppress(TimeoutError):
                if not self.sock.recv(65536):
                    return

    def reset(self) -> None:
        """Close with RST: bytes that were sent may be lost."""
        linger = struct.pack("ii", 1, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.sock.close()


class Peer:
    """A server that runs its script for each connection, in a thread."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self.connections = 0
        self._closed = threading.Semaphore(0)
        self.requests: list[bytes] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        # This wakes the thread in accept(); close() alone does not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            line = Line(sock, self.connections, self._ended)
            threading.Thread(target=self._serve, args=[line], daemon=True).start()

    def _prepare(self, line: Line) -> None:
        """Prepare the connection before the script."""

    def _serve(self, line: Line) -> None:
        # An OSError means that the client has left.
        with suppress(OSError):
            try:
                self._prepare(line)
                self._script(line)
            finally:
                line.sock.close()
        self._closed.release()

    def wait_for_close(self) -> None:
        """Wait until the peer has closed one more of its connections."""
        assert self._closed.acquire(timeout=10)


# A certificate for 127.0.0.1 with its key, only for these tests.
CERTIFICATE = Path(__file__).with_name("loopback.pem")


class TlsPeer(Peer):
    """A peer with TLS, whose certificate `trusting` trusts.

    `tickets` is the number of session tickets that it sends after the handshake.
    """

    def __init__(self, script: Script, *, tickets: int = 0) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(CERTIFICATE)
        self._tls.num_tickets = tickets
        super().__init__(script)
        self.url = f"https://127.0.0.1:{self.port}"

    def _prepare(self, line: Line) -> None:
        line.sock = self._tls.wrap_socket(line.sock, server_side=True)


def trusting() -> ssl.SSLContext:
    """Return a client's TLS context that trusts a `TlsPeer`."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def response(
    body: bytes | dict[str, Any],
    *,
    status: str = "200 OK",
    headers: dict[str, str] | None = None,
) -> bytes:
    """Return the bytes of an HTTP answer with its length."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
    } | (headers or {})
    lines = [f"HTTP/1.1 {status}", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


PAID = {"data": "success", "status": 200}
REFUSED = {"data": "failed", "status": 503}
