"""A TCP proxy on loopback whose connections can be black-holed, cut or refused."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

_CHUNK = 65536


class Proxy:
    """Passes bytes between its own port and a target.

    After `black_hole()` connections stay open and no byte passes, as when a machine has
    vanished. After `heal()` only new connections pass.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._servers: set[socket.socket] = set()
        self._dead: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._holding = False
        self._answers_left: int | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def black_hole(self) -> None:
        """Let nothing pass on any connection, old or new."""
        with self._lock:
            self._hold()

    def black_hole_after(self, answers: int) -> None:
        """Let nothing pass after this number of further answers of the target."""
        with self._lock:
            self._answers_left = answers

    def heal(self) -> None:
        """Let new connections pass; black-holed ones stay so."""
        with self._lock:
            self._holding = False
            self._answers_left = None

    def cut(self) -> None:
        """Close all connections at once."""
        with self._lock:
            for sock in [*self._peers, *self._dead]:
                self._drop(sock)

    @property
    def connections(self) -> int:
        """The number of connections that pass now."""
        with self._lock:
            return len(self._peers) // 2

    def close(self) -> None:
        """End the proxy and every connection through it."""
        self._ended = True
        self._thread.join(timeout=5)
        self.cut()
        self._listener.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.1):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._peers:
                        self._pass(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._holding:
            self._dead.add(client)
            return
        try:
            server = socket.create_connection(self._target, timeout=2)
        except OSError:
            client.close()
            return
        self._peers[client], self._peers[server] = server, client
        self._servers.add(server)
        for sock in (client, server):
            self._selector.register(sock, selectors.EVENT_READ)

    def _pass(self, source: socket.socket) -> None:
        target = self._peers[source]
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(_CHUNK)
            if data:
                target.sendall(data)
        if not data:
            self._drop(target)
            self._drop(source)
        elif source in self._servers and self._answers_left is not None:
            self._answers_left -= 1
            if self._answers_left <= 0:
                self._hold()

    def _hold(self) -> None:
        self._holding = True
        for sock in list(self._peers):
            self._bury(sock)

    def _bury(self, sock: socket.socket) -> None:
        """Keep the connection open and never use it again."""
        self._peers.pop(sock)
        self._dead.add(sock)
        self._selector.unregister(sock)

    def _drop(self, sock: socket.socket) -> None:
        if self._peers.pop(sock, None) is not None:
            self._selector.unregister(sock)
        self._dead.discard(sock)
        self._servers.discard(sock)
        sock.close()
