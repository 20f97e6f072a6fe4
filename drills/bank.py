"""The bank simulator as a process: its faults, and what it really paid."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from drills.process import ROOT, Process, free_port, wait_until

START_SECONDS = 20

# Every fault as the simulator's settings; None: a port without a listener.
FAULTS: dict[str, dict[str, Any] | None] = {
    "normal": {},
    "refuse": {"mode": "refuse"},
    "unreachable": None,
    "slow": {"latency": 0.05},
    "accept_hang": {"mode": "accept_hang"},
    "accept_reset": {"mode": "accept_reset"},
    "accept_close": {"mode": "accept_close"},
    "accept_500": {"mode": "accept_500"},
    "late_booking": {"mode": "late_booking"},
    "drip": {"mode": "drip"},
    "garbage": {"mode": "garbage"},
    "truncated": {"mode": "truncated"},
    "wrong_reference": {"mode": "wrong_reference"},
    "wrong_amount": {"mode": "wrong_amount"},
    "reset": {"mode": "reset"},
    "html_404": {"mode": "html_404"},
    "redirect": {"mode": "redirect"},
    "stale_lookup": {"mode": "accept_close", "lookup_mode": "stale"},
    "dead_lookup": {"mode": "accept_close", "lookup_mode": "error"},
    "refusing_lookup": {"mode": "accept_close", "lookup_mode": "refuses_503"},
}
# Twins: the service gets the same as with the other fault, and the same is paid, so
# everything after the HTTP client is equal. (A sweep compares their events.)
TWINS = {
    "slow": "normal",
    "accept_reset": "accept_close",
    "accept_500": "accept_close",
    "drip": "accept_hang",
    "garbage": "accept_close",
    "truncated": "accept_close",
    "wrong_reference": "accept_close",
    "wrong_amount": "accept_close",
    "html_404": "reset",
    "redirect": "reset",
    "refusing_lookup": "dead_lookup",
}
# Faults that have no effect without look-ups.
LOOK_UP_FAULTS = ("stale_lookup", "dead_lookup", "refusing_lookup")
# Faults that show a payment later by this time, which is longer than a sweep takes to
# look up.
LATE_FAULTS = ("late_booking", "stale_lookup")
BOOKING_DELAY = 1.2
CALM: dict[str, Any] = {
    "mode": "normal",
    "failure_rate": 0,
    "latency": 0,
    "lookup_mode": "normal",
    "booking_delay": BOOKING_DELAY,
}


@dataclass(frozen=True)
class Kind:
    """The abilities of a bank, for the simulator and for the service's settings."""

    dedupes: bool
    looks_up: bool

    def settings(self) -> dict[str, Any]:
        return {"bare": not (self.dedupes or self.looks_up), "dedupes": self.dedupes}


KINDS = {
    "able": Kind(dedupes=True, looks_up=True),
    "dedupes": Kind(dedupes=True, looks_up=False),
    "looks-up": Kind(dedupes=False, looks_up=True),
    "bare": Kind(dedupes=False, looks_up=False),
}


class Simulator:
    """A simulator with its own data file. It ends with `stop`, or with the drill."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        environment = {
            **os.environ,
            "BANK_PORT": str(self.port),
            "BANK_DATA": str(folder / "bank.sqlite3"),
            "BANK_FAILURE_RATE": "0",
        }
        command = [sys.executable, str(ROOT / "third-party" / "app.py")]
        log = folder / "bank.log"
        self._process = Process("bank", command, env=environment, log=log)
        self._process.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Wait until it answers.

        Its own log says so: the simulator of another process may have been faster to
        listen on this port, and would answer for two.
        """
        wait_until(
            lambda: self._process.said(f"listening on {self.url}"),
            seconds=START_SECONDS,
            what=f"the bank simulator to listen on port {self.port}",
        )

    def become(self, fault: str, kind: Kind) -> None:
        """Switch a fault on, for every later request."""
        self.call(
            "PUT", "/faults", {**CALM, **kind.settings(), **(FAULTS[fault] or {})}
        )

    def take_over(self, payments: list[dict[str, object]]) -> None:
        """Let it have paid these."""
        self.call("PUT", "/payments", {"payments": payments})

    def payments(self, wallet_uuids: Iterable[UUID]) -> list[dict[str, Any]]:
        """Return what it really paid for these wallets."""
        ours = {str(wallet_uuid) for wallet_uuid in wallet_uuids}
        return [
            payment
            for payment in self.call("GET", "/payments")
            if payment["wallet_uuid"] in ours
        ]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {answer}")
        return answer

    def stop(self) -> None:
        self._process.kill()
