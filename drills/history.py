"""The history of the API's clients: each request and each answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"

DEPOSIT, WITHDRAWAL, CANCEL = "DEPOSIT", "WITHDRAWAL", "CANCEL"


@dataclass(frozen=True)
class Answer:
    """An answer. Unknown: none, or one that does not say what was done."""

    verdict: str
    status: int = 0
    body: Any = None
    detail: str = ""


@dataclass
class Intent:
    """One effect that a client wants once, however often it sends the request."""

    kind: str
    key: str  # of a cancellation: the withdrawal's
    wallet: str
    amount: int
    scheduled_for: datetime | None = None
    answers: list[Answer] = field(default_factory=list)

    @property
    def verdicts(self) -> set[str]:
        return {answer.verdict for answer in self.answers}

    @property
    def transaction_id(self) -> int | None:
        """The id from the API's answers, if the client got one."""
        for answer in self.answers:
            if answer.verdict == OK:
                body = answer.body.get("transaction", answer.body)
                return int(body["id"])
        return None


class History:
    """All requests and answers. Thread-safe."""

    def __init__(self) -> None:
        self.intents: list[Intent] = []
        self._lock = threading.Lock()

    def begin(self, intent: Intent) -> Intent:
        """Record a request before it is sent."""
        with self._lock:
            self.intents.append(intent)
        return intent

    def count(self, verdict: str | None = None) -> int:
        """Return the number of answers, of this kind or in all."""
        with self._lock:
            intents = list(self.intents)
        return sum(
            1
            for intent in intents
            for answer in list(intent.answers)
            if verdict in (None, answer.verdict)
        )
