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
)
from wallets.utils import clock
from wallets.utils.db import all_or_each, run_unless_locked

# A group waits this long for wallets and keys that others hold: as a rule another
# process's group, for a moment. If that was in vain, it waits for no wallet for a while.
LOCK_WAIT_SECONDS = 0.05
IMPATIENT_SECONDS = 1.0

Numbered = dict[int, DepositRequest]


class DepositGroup:
    """Makes the deposits of one group after the other, in this process."""

    def __init__(self) -> None:
        self._impatient_until = 0.0

    def deposit(self, requests: Sequence[DepositRequest]) -> list[Answer | Made]:
        """Deposit; answer each, in order: `WalletBusy` where it has to be asked alone.

        In a transaction of its own; locks the wallets by id. Where the rows of one wallet
        are damaged, each request has a transaction of its own.
        """
        answers: dict[int, Answer | Made] = {}

        def work(some: Iterable[tuple[int, DepositRequest]]) -> None:
            answers.update(self._deposit(dict(some)))

        all_or_each(work, [*enumerate(requests)])
        return [answers.get(n) or WalletBusy() for n in range(len(requests))]

    def _deposit(self, requests: Numbered) -> Mapping[int, Answer | Made]:
        if connection.vendor != "postgresql":
            answers = deposit_bulk([*requests.values()], wait=False)
            return dict(zip(requests, answers, strict=True))
        if clock.elapsed() > self._impatient_until:
            made = _unless_locked(requests, skip_locked=False)
            if made is not None:
                return made
            self._impatient_until = clock.elapsed() + IMPATIENT_SECONDS
        return _unless_locked(requests, skip_locked=True) or {}


def _unless_locked(requests: Numbered, *, skip_locked: bool) -> dict[int, Made] | None:
    return run_unless_locked(
        partial(
            deposit_at_once,
            requests,
            skip_locked=skip_locked,
            lock_wait=LOCK_WAIT_SECONDS,
        )
    )
