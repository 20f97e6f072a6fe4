"""Those who freeze and close wallets, and who correct, while clients go on.

Only the keeper changes the life of wallets. Each request has a reason of its own, so
the history of a wallet tells which request made which change.
"""

from __future__ import annotations

import time
import uuid

import urllib3
from django.db import DatabaseError, InterfaceError, connection

from drills.clients import Client, read_answer
from drills.history import (
    CLOSE,
    CORRECTION,
    DEPOSIT,
    FREEZE,
    OK,
    REFUSED,
    TRANSFER,
    UNFREEZE,
    UNKNOWN,
    WALLET,
    Answer,
    Intent,
)

DIRECTIONS = ("in", "out", "both")
CORRECTOR = "corrector drill"


class Keeper(Client):
    """Freezes, unfreezes and closes wallets; replaces those that it has closed.

    The last wallet of the list is short-lived: it is emptied and closed. The first one,
    which all pay, is never frozen for long.
    """

    def act(self) -> None:
        """Change lives until the end."""
        actions = [
            (self.freeze, 20),
            (self.unfreeze, 30),
            (self.empty, 12),
            (self.close, 16),
        ]
        kinds, weights = zip(*actions, strict=True)
        while not self._ends.wait(self._random.uniform(0.2, 0.9)):
            (action,) = self._random.choices(kinds, weights=weights)
            action()

    def freeze(self) -> None:
        """Freeze a wallet in some direction."""
        wallet = self._random.choice(self._wallets)
        self.change(FREEZE, wallet, self._random.choice(DIRECTIONS))

    def unfreeze(self) -> None:
        """End the oldest freeze that may not have ended."""
        for wallet in list(self._frozen()):
            self.change(UNFREEZE, wallet, "both")
            return

    def _frozen(self) -> dict[str, None]:
        """Return the wallets that may be frozen, the longest first."""
        found: dict[str, None] = {}
        for intent in self._history.of(FREEZE, UNFREEZE, CLOSE):
            if intent.kind == FREEZE and intent.verdicts != {REFUSED}:
                found.setdefault(intent.wallet)
            elif OK in intent.verdicts or "wallet_closed" in _details(intent):
                found.pop(intent.wallet, None)
        return found

    def empty(self) -> None:
        """Transfer all that the short-lived wallet has to the hot one."""
        wallet = self._wallets[-1]
        balance = self._balance(wallet)
        if balance:
            pays = Intent(TRANSFER, str(uuid.uuid4()), wallet, balance)
            pays.to = self._wallets[0]
            self._mine.append(self._history.begin(pays))
            self._ask(pays)

    def close(self) -> None:
        """Close the short-lived wallet, and replace it when it is closed."""
        answer = self.change(CLOSE, self._wallets[-1])
        if answer.verdict == OK:
            self._wallets[-1] = self.make_wallet() or self._wallets[-1]

    def make_wallet(self) -> str:
        """Create a wallet, again with the same key until it is known; "": it is not."""
        intent = Intent(WALLET, str(uuid.uuid4()), "", 0)
        self._history.begin(intent)
        for _ in range(20):
            answer = self._post("/wallets/", {}, intent.key)
            intent.answers.append(answer)
            if answer.verdict == OK:
                return str(answer.body["uuid"])
            time.sleep(0.3)
        return ""

    def change(self, kind: str, wallet: str, direction: str = "") -> Answer:
        """Ask for a change once; every attempt is a request of its own."""
        intent = Intent(kind, f"drill {uuid.uuid4()}", wallet, 0)
        body = {"reason": intent.key}
        if direction:
            body["direction"] = intent.more["direction"] = direction
        self._history.begin(intent)
        answer = self._post(f"/wallets/{wallet}/{kind}", body, None)
        intent.answers.append(answer)
        return answer

    def end_freezes(self) -> None:
        """Unfreeze every wallet, when there are no more faults."""
        for wallet in self._frozen():
            for _ in range(20):
                if self.change(UNFREEZE, wallet, "both").verdict != UNKNOWN:
                    break

    def _balance(self, wallet: str) -> int:
        try:
            said = self._http.request("GET", f"{self._url}/wallets/{wallet}/")
            answer = read_answer(said.status, said.data)
        except urllib3.exceptions.HTTPError:
            return 0
        return int(answer.body["balance"]) if answer.verdict == OK else 0


def _details(intent: Intent) -> set[str]:
    return {answer.detail for answer in intent.answers}


class Corrector(Client):
    """An operator who corrects deposits and transfers, also twice and too much.

    There is no endpoint for it: it calls the service, as command and console do.
    """

    def act(self) -> None:
        """Correct until the end."""
        try:
            while not self._ends.wait(self._random.uniform(0.2, 1.0)):
                self.correct()
        finally:
            connection.close()

    def correct(self) -> None:
        """Correct something that a client was told is done; sometimes again."""
        known = [
            intent
            for intent in self._history.of(DEPOSIT, TRANSFER)[-200:]
            if intent.transaction_id
        ]
        if not known:
            return
        target = self._random.choice(known)
        again = [one for one in self._mine[-5:] if self._random.random() < 0.1]
        for intent in again or [self._wanted_of(target)]:
            for _ in range(4):
                answer = self._send(intent)
                intent.answers.append(answer)
                if answer.verdict != UNKNOWN or self._gives_up():
                    break

    def _wanted_of(self, target: Intent) -> Intent:
        """Return the correction of all or part of it, or of more than that."""
        share = self._random.choice([0.3, 0.5, 1, 1, 2])
        amount = max(1, int(target.amount * share))
        corrected, wallet = target.transaction_id, target.wallet
        if target.kind == TRANSFER:
            corrected = next(
                int(answer.body["transfer"]["to_transaction"])
                for answer in target.answers
                if answer.verdict == OK
            )
            wallet = target.to
        intent = Intent(CORRECTION, str(uuid.uuid4()), wallet, amount)
        intent.corrects = corrected
        self._mine.append(intent)
        return self._history.begin(intent)

    def _send(self, intent: Intent) -> Answer:
        from wallets.errors import LostRace, Refusal
        from wallets.services.corrections import correction

        began = time.monotonic()
        verdict, body, detail = UNKNOWN, None, ""
        try:
            made = correction.correct(
                intent.corrects or 0,
                intent.amount,
                reason="chaos",
                actor=CORRECTOR,
                idempotency_key=intent.key,
            )
            verdict, body = OK, {"id": made.debit_id}
        except Refusal as refusal:
            verdict, detail = REFUSED, type(refusal).__name__
        except (DatabaseError, InterfaceError, LostRace) as error:
            detail = type(error).__name__
            connection.close()
        return Answer(verdict, 0, body, detail, began, time.monotonic())
