"""Webhooks in a drill: the receiver as a process, and what an operator does by the API."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from drills.process import Process, free_port, listens, wait_until
from drills.receiver import HOOKS

# In seconds. The standard's waits are days: here an endpoint that fails is switched off
# within half a minute.
SHORT_TIMES = {
    "WEBHOOK_CONNECT_TIMEOUT": "0.5",
    "WEBHOOK_DEADLINE": "1.5",
    "WEBHOOK_LEASE": "4",
    "WEBHOOK_RETRIES": "0.3,0.6,1,2,3,3,3,3,3",
    "WEBHOOK_POLL": "0.2",
}
# The receiver is on this machine; its second address is not allowed.
ALLOWED = {
    "WEBHOOK_ALLOW_HTTP": "true",
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.1/32",
    "WEBHOOK_ALLOWED_PORTS": "any",
}
# What the hook "some" wants; "all" wants everything.
SOME_TYPES = (
    "deposit.completed",
    "transfer.received",
    "withdrawal.completed",
    "wallet.frozen",
)
TYPES: Mapping[str, tuple[str, ...]] = {"all": (), "some": SOME_TYPES}
CALM = dict.fromkeys(HOOKS, "ok")


class Receiver(Process):
    """The receiver. What it got survives it; after a start it is healthy."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder / "receiver"
        self.folder.mkdir()
        # The UUIDs of the webhooks, by hook.
        self.uuids: dict[str, str] = {}
        options = ["--port", str(self.port), "--folder", str(self.folder)]
        super().__init__(
            "receiver",
            [sys.executable, "-m", "drills.receiver", *options],
            env=os.environ,
            log=folder / "receiver.log",
        )

    def start(self) -> None:
        super().start()
        wait_until(
            lambda: listens(self.port), seconds=30, what="the receiver to listen"
        )

    def register(self, api_url: str) -> None:
        """Make a webhook for each hook."""
        secrets = {}
        for hook in HOOKS:
            body = {"url": f"{self.url}/{hook}", "types": list(TYPES[hook])}
            made = ask(api_url, "POST", "/webhooks/", body)
            secrets[hook] = [made["secret"]]
            self.uuids[hook] = made["uuid"]
        (self.folder / "secrets.json").write_text(json.dumps(secrets))

    def set_modes(self, modes: Mapping[str, str]) -> None:
        """Make hooks answer like this from now on."""
        ask(self.url, "PUT", "/faults", dict(modes), seconds=2)

    def received(self) -> list[dict[str, Any]]:
        """Return all that it has written down, in the order of time."""
        path = self.folder / "received.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


def ask(
    url: str, method: str, path: str, body: object = None, *, seconds: float = 10
) -> Any:
    """Send a request; return the answer's JSON, None if it is empty.

    :raises OSError: no answer within `seconds`, or not a 2xx with JSON.
    """
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if content else {}
    request = urllib.request.Request(url + path, content, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            data = answer.read()
        return json.loads(data) if data else None
    except (HTTPException, ValueError) as error:
        raise OSError(str(error)) from error


def switch_on_all(api_url: str, uuids: Iterable[str], *, seconds: float = 10) -> int:
    """Switch on the webhooks that are off; return how many."""
    count = 0
    for uuid in uuids:
        path = f"/webhooks/{uuid}/"
        if not ask(api_url, "GET", path, seconds=seconds)["enabled"]:
            ask(api_url, "PATCH", path, {"enabled": True}, seconds=seconds)
            count += 1
    return count


def feed(api_url: str) -> list[dict[str, Any]]:
    """Return the whole feed, read page by page as a client does."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["position"] if found else 0
        page = ask(api_url, "GET", f"/events/?after={after}&limit=1000")
        if not page:
            return found
        found += page
