"""Deposits of many who did not choose each other: nobody waits long for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from django.db import connection

from wallets.services.deposit import (
    Answer,
    DepositRequest,
    Made,
    WalletBusy,
    deposit_at_once,
    deposit_bulk,
    deposit_in_steps,
)
from wallets.utils import clock
from wallets.utils.damaged import all_or_each
from wallets.utils.db import lock_wait, run_unless_locked

# A group waits this long for wallets and keys that others hold: as a rule another
# process's group, for a moment. If that was in vain, it waits for no wallet for a while.
LOCK_WAIT_SECONDS = 0.05
IMPATIENT_SECONDS = 1.0

# MySQL and MariaDB cannot wait for less.
LOCK_WAIT_ELSEWHERE_SECONDS = 1

Numbered = dict[int, DepositRequest]
Answers = dict[int, Answer | Made]


class DepositGroup:
    """Makes the deposits of one group after the other, in this process."""

    def __init__(self) -> None:
        self._impatient_until = 0.0

    def deposit(self, requests: Sequence[DepositRequest]) -> list[Answer | Made]:
        """Deposit; answer each, in order: `WalletBusy` where it has to be asked alone.

        In a transaction of its own; locks the wallets by id. Where the rows of one wallet
        are damaged, each request has a transaction of its own.
        """
        answers: Answers = {}

        def work(some: Iterable[tuple[int, DepositRequest]]) -> None:
            answers.update(self._deposit(dict(some)))

        all_or_each(work, [*enumerate(requests)])
        return [answers.get(n) or WalletBusy() for n in range(len(requests))]

    def _deposit(self, requests: Numbered) -> Mapping[int, Answer | Made]:
        waits = clock.elapsed() > self._impatient_until
        if connection.vendor == "postgresql":
            made = _unless_locked(requests, skip_locked=False) if waits else None
            if made is not None:
                return made
            if waits:
                self._be_impatient()
            return _unless_locked(requests, skip_locked=True) or {}
        answers = _without_locked(requests)
        busy = {n: requests[n] for n, one in answers.items() if _is_busy(one)}
        if busy and waits and connection.vendor == "mysql":
            answers |= self._wait_for(busy)
        return answers

    def _be_impatient(self) -> None:
        self._impatient_until = clock.elapsed() + IMPATIENT_SECONDS

    def _wait_for(self, busy: Numbered) -> Answers:
        """Deposit to wallets that others hold: wait as briefly as the engine can."""
        with lock_wait(LOCK_WAIT_ELSEWHERE_SECONDS):
            answers = run_unless_locked(lambda: deposit_in_steps([*busy.values()]))
        if answers is None:
            self._be_impatient()
            return {}
        return dict(zip(busy, answers, strict=True))


def _is_busy(answer: Answer | Made) -> bool:
    return isinstance(answer, WalletBusy)


def _without_locked(requests: Numbered) -> Answers:
    answers = deposit_bulk([*requests.values()], wait=False)
    return dict(zip(requests, answers, strict=True))


def _unless_locked(requests: Numbered, *, skip_locked: bool) -> dict[int, Made] | None:
    return run_unless_locked(
        partial(
            deposit_at_once,
            requests,
            skip_locked=skip_locked,
            lock_wait=LOCK_WAIT_SECONDS,
        ),
        one_statement=True,
    )
