"""Deposits of independent clients as one group, with a bounded wait.

A locked wallet, a key in use or damaged rows of one request cost the others a bounded
number of short statements, and never a wait of a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

from django.db import connection

from wallets.services.deposits.deposit import (
    DepositReceipt,
    DepositRequest,
    DepositResult,
    deposit_at_once,
    deposit_many,
    deposit_unless_locked,
    is_busy,
)
from wallets.services.requests.group import KEY_WAIT_SECONDS, in_halves
from wallets.utils import clock
from wallets.utils.database.transactions import run_unless_locked

# A group waits this long for locked wallets: usually another process's group holds them
# for a moment. After a wait in vain it waits for no wallet for IMPATIENT_SECONDS.
LOCK_WAIT_SECONDS = 0.05
IMPATIENT_SECONDS = 1.0
# MySQL and MariaDB cannot wait for less than a second, so there the group polls.
ASK_AGAIN_SECONDS = 0.005

Numbered = dict[int, DepositRequest]
Results = dict[int, DepositResult]


class DepositGroup:
    """Makes the deposits of one group after the other, in this process."""

    def __init__(self) -> None:
        self._impatient_until = 0.0

    def deposit(self, requests: Sequence[DepositRequest]) -> list[DepositResult]:
        """Make the deposits; return one result each, in order, or `Busy`.

        A `Busy` request must be made again, alone. Opens its own transaction, or
        several for parts of the group (`in_halves`); locks the wallets by id.
        """
        return in_halves(self._deposit, requests)

    def _deposit(self, requests: Numbered) -> Mapping[int, DepositResult] | None:
        """Return None, and change nothing, if one of the keys is in use now."""
        waits = clock.elapsed() > self._impatient_until
        if connection.vendor == "postgresql":
            made = _at_once(requests, skip_locked=False) if waits else None
            if made is None:
                if waits:
                    self._be_impatient()
                made = _at_once(requests, skip_locked=True)
            if made is None:
                return None
            # Only replays, refusals and locked wallets are left.
            left = {n: one for n, one in requests.items() if n not in made}
            return {**made, **(deposit_unless_locked(left) or {})} if left else made
        if connection.vendor == "sqlite":
            made_alone = deposit_many([*requests.values()], wait=False)
            return dict(zip(requests, made_alone, strict=True))
        done = deposit_unless_locked(requests)
        if done is None:
            return None
        answers: Results = {**done}
        busy = {n: requests[n] for n, one in answers.items() if is_busy(one)}
        if busy and waits:
            answers |= self._ask_again(busy)
        return answers

    def _be_impatient(self) -> None:
        self._impatient_until = clock.elapsed() + IMPATIENT_SECONDS

    def _ask_again(self, busy: Numbered) -> Results:
        """Poll for the locked wallets, and make their deposits when they are free."""
        answers: Results = {}
        ends = clock.elapsed() + LOCK_WAIT_SECONDS
        while busy and clock.elapsed() < ends:
            time.sleep(ASK_AGAIN_SECONDS)
            answers |= deposit_unless_locked(busy) or {}
            busy = {n: one for n, one in busy.items() if is_busy(answers.get(n))}
        if busy:
            self._be_impatient()
        return answers


def _at_once(
    requests: Numbered, *, skip_locked: bool
) -> dict[int, DepositReceipt] | None:
    return run_unless_locked(
        partial(
            deposit_at_once,
            requests,
            skip_locked=skip_locked,
            lock_wait=KEY_WAIT_SECONDS if skip_locked else LOCK_WAIT_SECONDS,
        ),
        one_statement=True,
    )
