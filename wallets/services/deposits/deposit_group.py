"""Deposits of independent clients as one group, with a bounded wait.

A locked wallet, a key in use or damaged rows of one request cost the others a bounded
number of short statements, and never a wait of a second.
"""

from __future__ import annotations

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
from wallets.services.requests import patience
from wallets.services.requests.group import KEY_WAIT_SECONDS, in_halves
from wallets.services.requests.patience import Patience
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.transactions import run_unless_locked

Numbered = dict[int, DepositRequest]
Results = dict[int, DepositResult]


class DepositGroup:
    """Makes the deposits of one group after the other, in this process."""

    def __init__(self) -> None:
        self._patience = Patience()

    def deposit(
        self, requests: Sequence[DepositRequest], *, caller: Caller = ANYBODY
    ) -> list[DepositResult]:
        """Make a caller's deposits; return one result each, in order, or `Busy`.

        A `Busy` request must be made again, alone. Opens its own transaction, or
        several for parts of the group (`in_halves`); locks the wallets by id.
        """
        return in_halves(partial(self._deposit, caller=caller), requests)

    def _deposit(
        self, requests: Numbered, caller: Caller
    ) -> Mapping[int, DepositResult] | None:
        """Return None, and change nothing, if one of the keys is in use now."""
        waits = self._patience.is_left
        if connection.vendor == "postgresql":
            made = _at_once(requests, caller, skip_locked=False) if waits else None
            if made is None:
                if waits:
                    self._patience.lose()
                made = _at_once(requests, caller, skip_locked=True)
            if made is None:
                return None
            # Only replays, refusals and locked wallets are left.
            left = {n: one for n, one in requests.items() if n not in made}
            if not left:
                return made
            return {**made, **(deposit_unless_locked(left, caller=caller) or {})}
        if connection.vendor == "sqlite":
            made_alone = deposit_many([*requests.values()], caller=caller, wait=False)
            return dict(zip(requests, made_alone, strict=True))
        unless_locked = partial(deposit_unless_locked, caller=caller)
        done = unless_locked(requests)
        if done is None:
            return None
        answers: Results = {**done}
        busy = {n: requests[n] for n, one in answers.items() if is_busy(one)}
        if busy and waits:
            answers |= self._patience.poll(unless_locked, busy)
        return answers


def _at_once(
    requests: Numbered, caller: Caller, *, skip_locked: bool
) -> dict[int, DepositReceipt] | None:
    return run_unless_locked(
        partial(
            deposit_at_once,
            requests,
            caller=caller,
            skip_locked=skip_locked,
            lock_wait=KEY_WAIT_SECONDS if skip_locked else patience.LOCK_WAIT_SECONDS,
        ),
        one_statement=True,
    )
