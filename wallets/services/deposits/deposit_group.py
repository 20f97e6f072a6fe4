"""Deposits of many who did not choose each other: nobody waits long for the rest.

What one of them does, a locked wallet, a key that somebody is just using, damaged rows,
costs the others a bounded number of short statements, and no wait of a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

from django.db import connection

from wallets.services.deposits.deposit import (
    Answer,
    DepositRequest,
    Made,
    deposit_at_once,
    deposit_bulk,
    deposit_unless_locked,
    is_busy,
)
from wallets.services.requests.group import KEY_WAIT_SECONDS, in_halves
from wallets.utils import clock
from wallets.utils.database.transactions import run_unless_locked

# A group waits this long for wallets that others hold: as a rule another process's group,
# for a moment. If that was in vain, it waits for no wallet for a while.
LOCK_WAIT_SECONDS = 0.05
IMPATIENT_SECONDS = 1.0
# MySQL and MariaDB cannot wait for less than a second: there it asks again, so often.
ASK_AGAIN_SECONDS = 0.005

Numbered = dict[int, DepositRequest]
Answers = dict[int, Answer | Made]


class DepositGroup:
    """Makes the deposits of one group after the other, in this process."""

    def __init__(self) -> None:
        self._impatient_until = 0.0

    def deposit(self, requests: Sequence[DepositRequest]) -> list[Answer | Made]:
        """Deposit; answer each, in order: `Busy` where it has to be asked alone.

        In a transaction of its own, or in some for halves of them (`in_halves`); locks the
        wallets by id.
        """
        return in_halves(self._deposit, requests)

    def _deposit(self, requests: Numbered) -> Mapping[int, Answer | Made] | None:
        """None, and nothing done, where one of the keys is just being used."""
        waits = clock.elapsed() > self._impatient_until
        if connection.vendor == "postgresql":
            made = _at_once(requests, skip_locked=False) if waits else None
            if made is None:
                if waits:
                    self._be_impatient()
                made = _at_once(requests, skip_locked=True)
            if made is None:
                return None
            # Repetitions and refusals, and what others hold: only that is left then.
            left = {n: one for n, one in requests.items() if n not in made}
            return {**made, **(deposit_unless_locked(left) or {})} if left else made
        if connection.vendor == "sqlite":
            made_alone = deposit_bulk([*requests.values()], wait=False)
            return dict(zip(requests, made_alone, strict=True))
        done = deposit_unless_locked(requests)
        if done is None:
            return None
        answers: Answers = {**done}
        busy = {n: requests[n] for n, one in answers.items() if is_busy(one)}
        if busy and waits:
            answers |= self._ask_again(busy)
        return answers

    def _be_impatient(self) -> None:
        self._impatient_until = clock.elapsed() + IMPATIENT_SECONDS

    def _ask_again(self, busy: Numbered) -> Answers:
        """Deposit to wallets that others hold, once they let them go."""
        answers: Answers = {}
        ends = clock.elapsed() + LOCK_WAIT_SECONDS
        while busy and clock.elapsed() < ends:
            time.sleep(ASK_AGAIN_SECONDS)
            answers |= deposit_unless_locked(busy) or {}
            busy = {n: one for n, one in busy.items() if is_busy(answers.get(n))}
        if busy:
            self._be_impatient()
        return answers


def _at_once(requests: Numbered, *, skip_locked: bool) -> dict[int, Made] | None:
    return run_unless_locked(
        partial(
            deposit_at_once,
            requests,
            skip_locked=skip_locked,
            lock_wait=KEY_WAIT_SECONDS if skip_locked else LOCK_WAIT_SECONDS,
        ),
        one_statement=True,
    )
