"""The history of the API's clients: each request and each answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"

# What a client wants. The kinds of transactions are those of the ledger.
DEPOSIT, WITHDRAWAL, CANCEL = "DEPOSIT", "WITHDRAWAL", "CANCEL"
RESCHEDULE = "RESCHEDULE"
TRANSFER, CORRECTION = "TRANSFER_OUT", "CORRECTION_OUT"
# The creation of a wallet; the key is the request's.
WALLET = "WALLET"
# Changes of a wallet's life; the key is the reason, which no other request has.
FREEZE, UNFREEZE, CLOSE = "freeze", "unfreeze", "close"
LIFE = (FREEZE, UNFREEZE, CLOSE)


@dataclass(frozen=True)
class Answer:
    """An answer. Unknown: none, or one that does not say what was done.

    `detail` is the code of a refusal. `began` and `ended` are when the request was sent
    and when it was answered or given up, by this process's monotonic clock (seconds).
    """

    verdict: str
    status: int = 0
    body: Any = None
    detail: str = ""
    began: float = 0.0
    ended: float = 0.0


@dataclass
class Intent:
    """One effect that a client wants once, however often it sends the request.

    `to` is the wallet that a transfer pays; `corrects` the id of the transaction that a
    correction takes back; `more` what else the request has.
    """

    kind: str
    key: str  # of a cancellation and of a reschedule: the withdrawal's
    wallet: str
    amount: int
    scheduled_for: datetime | None = None
    to: str = ""
    corrects: int | None = None
    more: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)

    @property
    def verdicts(self) -> set[str]:
        return {answer.verdict for answer in self.answers}

    @property
    def transaction_id(self) -> int | None:
        """The id from the API's answers, if the client got one."""
        for answer in self.answers:
            if answer.verdict == OK:
                if self.kind == TRANSFER:
                    return int(answer.body["transfer"]["from_transaction"])
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

    def of(self, *kinds: str) -> list[Intent]:
        """Return what clients want of these kinds, oldest first."""
        with self._lock:
            return [intent for intent in self.intents if intent.kind in kinds]

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
