"""An honest client during an attack, and its figures.

It deposits on one kept connection, and opens a new one for each /healthz and for each
/readyz, as a supervisor and a balancer do.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from dataclasses import dataclass, field

# After this time without an answer the request counts as unanswered.
ANSWER_SECONDS = 10.0
DEPOSIT_PAUSE, HEALTH_PAUSE = 0.02, 0.1
HEALTH, READY = "/healthz", "/readyz"


@dataclass
class Figures:
    """Milliseconds of each answer, and what was no answer or a failure."""

    deposits: list[float] = field(default_factory=list)
    probes: dict[str, list[float]] = field(
        default_factory=lambda: {HEALTH: [], READY: []}
    )
    errors: list[str] = field(default_factory=list)

    def share(self, part: float) -> float:
        """Return the quantile of the deposits' times."""
        ordered = sorted(self.deposits) or [float("nan")]
        return ordered[min(int(part * len(ordered)), len(ordered) - 1)]

    def worst(self, probe: str) -> float:
        """Return the longest time of this probe."""
        return max(self.probes[probe], default=float("nan"))


class Stranger:
    """Three threads that send requests within the `with` block."""

    def __init__(self, port: int, wallet: str) -> None:
        self.figures = Figures()
        self._port = port
        self._path = f"/wallets/{wallet}/deposit"
        self._ends = threading.Event()
        self._threads = [
            threading.Thread(target=self._deposits, daemon=True),
            threading.Thread(target=self._probes, args=[HEALTH], daemon=True),
            threading.Thread(target=self._probes, args=[READY], daemon=True),
        ]

    def __enter__(self) -> Stranger:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(ANSWER_SECONDS * 3)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, ANSWER_SECONDS)

    def _deposits(self) -> None:
        connection = self._connection()
        body = json.dumps({"amount": 1})
        while not self._ends.wait(DEPOSIT_PAUSE):
            headers = {
                "Content-Type": "application/json",
                "Idempotency-Key": str(uuid.uuid4()),
            }
            self._ask(
                connection, ("POST", self._path, body, headers), self.figures.deposits
            )

    def _probes(self, path: str) -> None:
        while not self._ends.wait(HEALTH_PAUSE):
            connection = self._connection()
            self._ask(connection, ("GET", path, None, {}), self.figures.probes[path])
            connection.close()

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        asked: tuple[str, str, str | None, dict[str, str]],
        times: list[float],
    ) -> None:
        began = time.monotonic()
        what = asked[0] if asked[0] == "POST" else asked[1]
        try:
            connection.request(*asked)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                self.figures.errors.append(f"{what} {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            self.figures.errors.append(f"{what} {type(error).__name__}")
            connection.close()
        times.append((time.monotonic() - began) * 1000)
