"""Clients of the API that are impatient and repeat requests.

Each thread deposits, schedules, cancels, repeats unanswered requests with the same key,
and records every answer.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

import urllib3

from drills.history import (
    CANCEL,
    DEPOSIT,
    OK,
    REFUSED,
    UNKNOWN,
    WITHDRAWAL,
    Answer,
    History,
    Intent,
)

ANSWER_SECONDS = 3.0
# Statuses that mean "not done, and it will not be"; all others leave it open.
REFUSALS = {400, 404, 409, 422}
# Codes among those that say nothing about the effect of this request.
OPEN_CODES = {"request_in_progress"}


class Client(threading.Thread):
    """One client. Its seed decides its requests, but not their times."""

    def __init__(
        self,
        url: str,
        history: History,
        wallets: list[str],
        seed: str,
        ends: threading.Event,
    ) -> None:
        super().__init__(name=f"client {seed}", daemon=True)
        self._url = url
        self._history = history
        self._wallets = wallets
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._ends = ends
        self._http = urllib3.PoolManager(retries=False, timeout=ANSWER_SECONDS)
        self._mine: list[Intent] = []

    def run(self) -> None:
        """Send requests until the end."""
        actions = [self.deposit, self.schedule, self.cancel, self.repeat]
        while not self._ends.wait(self._random.uniform(0.05, 0.25)):
            (action,) = self._random.choices(actions, weights=[35, 45, 8, 12])
            action()

    def deposit(self) -> None:
        """Deposit."""
        amount = self._random.randint(100, 1500)
        self._ask(self._wanted(DEPOSIT, amount))

    def schedule(self) -> None:
        """Schedule a withdrawal that is due within seconds."""
        seconds = self._random.uniform(0.7, 8)
        due = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        # To the millisecond, because the request contains it as text.
        due = due.replace(microsecond=due.microsecond // 1000 * 1000)
        self._ask(self._wanted(WITHDRAWAL, self._random.randint(1, 900), due))

    def cancel(self) -> None:
        """Cancel a withdrawal of this client, in time or too late."""
        known = [
            intent
            for intent in self._mine[-8:]
            if intent.kind == WITHDRAWAL and intent.transaction_id
        ]
        if not known:
            return
        target = self._random.choice(known)
        path = f"/wallets/{target.wallet}/transactions/{target.transaction_id}/cancel"
        intent = Intent(CANCEL, target.key, target.wallet, target.amount)
        self._history.begin(intent)
        intent.answers.append(self._post(path, {}, None))

    def repeat(self) -> None:
        """Repeat an earlier request, whatever its answer was."""
        recent = self._mine[-20:]
        if recent:
            self._ask(self._random.choice(recent), insist=False)

    def _wanted(self, kind: str, amount: int, due: datetime | None = None) -> Intent:
        wallet = self._random.choice(self._wallets)
        intent = Intent(kind, str(uuid.uuid4()), wallet, amount, due)
        self._mine.append(intent)
        return self._history.begin(intent)

    def _ask(self, intent: Intent, *, insist: bool = True) -> None:
        """Send a request; mostly repeat it with its key until the answer is known."""
        body: dict[str, object] = {"amount": intent.amount}
        endpoint = "deposit"
        if intent.scheduled_for is not None:
            body["scheduled_for"] = intent.scheduled_for.isoformat(
                timespec="milliseconds"
            )
            endpoint = "withdraw"
        for _ in range(4 if insist else 1):
            answer = self._post(
                f"/wallets/{intent.wallet}/{endpoint}", body, intent.key
            )
            intent.answers.append(answer)
            gives_up = self._random.random() < 0.2
            if answer.verdict != UNKNOWN or gives_up or self._ends.is_set():
                return
            time.sleep(self._random.uniform(0.1, 0.5))

    def _post(self, path: str, body: object, key: str | None) -> Answer:
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            answer = self._http.request(
                "POST", self._url + path, body=json.dumps(body), headers=headers
            )
        except urllib3.exceptions.HTTPError as error:
            return Answer(UNKNOWN, detail=type(error).__name__)
        return read_answer(answer.status, answer.data)


def read_answer(status: int, data: bytes) -> Answer:
    """Return what an answer means for the client."""
    try:
        body = json.loads(data)
    except ValueError:
        return Answer(UNKNOWN, status, detail="no JSON")
    if status in (200, 201):
        return Answer(OK, status, body)
    code = body.get("code", "") if isinstance(body, dict) else ""
    if status in REFUSALS and code not in OPEN_CODES:
        return Answer(REFUSED, status, body, code)
    return Answer(UNKNOWN, status, body, code)
