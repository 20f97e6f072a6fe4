"""Clients of the API that are impatient and repeat requests.

Each thread deposits, schedules, reschedules, cancels, transfers alone and in bulk, repeats
unanswered requests with the same key, and records every answer.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import urllib3

from drills.history import (
    CANCEL,
    DEPOSIT,
    OK,
    REFUSED,
    RESCHEDULE,
    TRANSFER,
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
        self.finished = False

    def run(self) -> None:
        """Act, and note that no error of its own has ended it."""
        self.act()
        self.finished = True

    def act(self) -> None:
        """Send requests until the end."""
        actions = [
            (self.deposit, 30),
            (self.schedule, 35),
            (self.cancel, 8),
            (self.reschedule, 8),
            (self.repeat, 12),
            (self.transfer, 22),
            (self.transfer_many, 8),
        ]
        kinds, weights = zip(*actions, strict=True)
        while not self._ends.wait(self._random.uniform(0.05, 0.25)):
            (action,) = self._random.choices(kinds, weights=weights)
            action()

    def deposit(self) -> None:
        """Deposit."""
        amount = self._random.randint(100, 1500)
        self._ask(self._wanted(DEPOSIT, amount))

    def schedule(self) -> None:
        """Schedule a withdrawal that is due within seconds."""
        due = self._soon()
        intent = self._wanted(WITHDRAWAL, self._random.randint(1, 900), due)
        if self._random.random() < 0.2:
            intent.more["if_frozen"] = "fail"
        self._ask(intent)

    def _soon(self) -> datetime:
        seconds = self._random.uniform(0.7, 8)
        due = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        # To the millisecond, because the request contains it as text.
        return due.replace(microsecond=due.microsecond // 1000 * 1000)

    def transfer(self) -> None:
        """Transfer to another wallet, each second time to the one that all pay."""
        pays, gets = self._random.sample(self._wallets, 2)
        if self._random.random() < 0.5 and pays != self._wallets[0]:
            gets = self._wallets[0]
        self._ask(self._transfer(pays, gets))

    def transfer_many(self) -> None:
        """Transfer in a cycle of some wallets, in one request."""
        cycle = self._random.sample(self._wallets, self._random.randint(2, 4))
        intents = [
            self._transfer(pays, gets)
            for pays, gets in zip(cycle, [*cycle[1:], cycle[0]], strict=True)
        ]
        body = [_body_of(each) | {"idempotency_key": each.key} for each in intents]
        for _ in range(4):
            together = self._post("/transfers/", body, None)
            for number, intent in enumerate(intents):
                intent.answers.append(one_of_many(together, number, len(intents)))
            if together.verdict != UNKNOWN or self._gives_up():
                return

    def _transfer(self, pays: str, gets: str) -> Intent:
        amount = self._random.randint(1, 300)
        intent = Intent(TRANSFER, str(uuid.uuid4()), pays, amount, to=gets)
        self._mine.append(intent)
        return self._history.begin(intent)

    def _gives_up(self) -> bool:
        """Wait a little before the next try; return whether there is none."""
        if self._random.random() < 0.2 or self._ends.is_set():
            return True
        time.sleep(self._random.uniform(0.1, 0.5))
        return False

    def cancel(self) -> None:
        """Cancel a withdrawal of this client, in time or too late."""
        self._change(CANCEL, None)

    def reschedule(self) -> None:
        """Reschedule a withdrawal of this client, in time or too late."""
        self._change(RESCHEDULE, self._soon())

    def _change(self, kind: str, due: datetime | None) -> None:
        known = [
            intent
            for intent in self._mine[-8:]
            if intent.kind == WITHDRAWAL and intent.transaction_id
        ]
        if not known:
            return
        target = self._random.choice(known)
        one = f"/wallets/{target.wallet}/transactions/{target.transaction_id}"
        intent = Intent(kind, target.key, target.wallet, target.amount, due)
        self._history.begin(intent)
        body = {"scheduled_for": _written(due)} if due else {}
        answer = self._post(f"{one}/{kind.lower()}", body, None)
        intent.answers.append(answer)

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
        for _ in range(4 if insist else 1):
            answer = self._post(_path_of(intent), _body_of(intent), intent.key)
            intent.answers.append(answer)
            if answer.verdict != UNKNOWN or self._gives_up():
                return

    def _post(self, path: str, body: object, key: str | None) -> Answer:
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        began = time.monotonic()
        try:
            said = self._http.request(
                "POST", self._url + path, body=json.dumps(body), headers=headers
            )
            answer = read_answer(said.status, said.data)
        except urllib3.exceptions.HTTPError as error:
            answer = Answer(UNKNOWN, detail=type(error).__name__)
        return replace(answer, began=began, ended=time.monotonic())


def _path_of(intent: Intent) -> str:
    if intent.kind == TRANSFER:
        return "/transfers/"
    endpoint = "withdraw" if intent.kind == WITHDRAWAL else "deposit"
    return f"/wallets/{intent.wallet}/{endpoint}"


def _body_of(intent: Intent) -> dict[str, Any]:
    body: dict[str, Any] = {"amount": intent.amount, **intent.more}
    if intent.kind == TRANSFER:
        body |= {"from": intent.wallet, "to": intent.to}
    if intent.scheduled_for is not None:
        body["scheduled_for"] = _written(intent.scheduled_for)
    return body


def _written(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds")


def one_of_many(together: Answer, number: int, count: int) -> Answer:
    """Return the answer to one item of a bulk request; unknown if it has none."""
    if together.verdict == REFUSED:
        return replace(together, body=None)
    lines = together.body
    if together.verdict == UNKNOWN or not isinstance(lines, list):
        return replace(together, verdict=UNKNOWN, body=None)
    if len(lines) != count:
        return replace(together, verdict=UNKNOWN, body=None, detail="other items")
    line = lines[number]
    if line["result"] == "refused":
        code = line["problem"]["code"]
        verdict = UNKNOWN if code in OPEN_CODES else REFUSED
        return replace(together, verdict=verdict, body=line, detail=code)
    done = {name: line[name] for name in ("wallet", "transfer")}
    return replace(together, body=done)


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
