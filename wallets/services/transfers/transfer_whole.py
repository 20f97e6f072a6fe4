"""The transfers of one bulk request, made without a long wait for other transactions.

They are made in order, so a locked wallet puts all of them off: a later one may need
the money of an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from django.db import connection

from wallets.services.requests.busy import Busy
from wallets.services.requests.group import KEY_WAIT_SECONDS
from wallets.services.requests.patience import Patience
from wallets.services.transfers.transfer import transfer_after, transfer_at_once
from wallets.services.transfers.transfer_batch import (
    TransferReceipt,
    TransferRequest,
    TransferResult,
    transfer_in_steps,
)
from wallets.utils.caller import Caller
from wallets.utils.database.transactions import limit_lock_wait, run_unless_locked

# How long an array waits for wallets that others lock: as long as a few arrays take.
LOCK_WAIT_SECONDS = 0.2


class TransferWhole:
    """Makes the arrays of transfers of this process."""

    def __init__(self) -> None:
        self._patience = Patience()

    def transfer(
        self, requests: Sequence[TransferRequest], *, caller: Caller
    ) -> list[TransferResult]:
        """Make a caller's transfers as `transfer_many` does, unless that would wait long.

        Opens its own transactions; locks the wallets by id.

        :raises Busy: another transaction is in the way; `rest` returns all results.
        """
        numbered = dict(enumerate(requests))
        made: dict[int, TransferReceipt] = {}
        if connection.vendor == "postgresql":
            made = self._at_once(numbered, caller)
        left = {n: one for n, one in numbered.items() if n not in made}

        def finish(results: Sequence[TransferResult]) -> list[TransferResult]:
            answers = made | dict(zip(left, results, strict=True))
            return [answers[n] for n in numbered]

        try:
            judged = _unless_locked([*left.values()], caller) if left else []
        except Busy as busy:
            wallets = busy.wallets

            def rest() -> list[TransferResult]:
                return finish(transfer_after(wallets, [*left.values()], caller=caller))

            raise Busy(wallets=wallets, rest=rest) from None
        return finish(judged)

    def _at_once(
        self, requests: Mapping[int, TransferRequest], caller: Caller
    ) -> dict[int, TransferReceipt]:
        """Make the transfers in one statement; return none if another one is in the way.

        Arrays of a hundred often have a wallet in common, and to try again costs more
        than to wait. After a wait in vain the next arrays do not wait for a while.
        """
        waits = self._patience.is_left
        at_once = partial(
            transfer_at_once,
            requests,
            whole=len(requests) > 1,
            caller=caller,
            lock_wait=LOCK_WAIT_SECONDS if waits else KEY_WAIT_SECONDS,
        )
        made = run_unless_locked(at_once, one_statement=True)
        if made is None and waits:
            self._patience.lose()
        return made or {}


def _unless_locked(
    requests: Sequence[TransferRequest], caller: Caller
) -> list[TransferResult]:
    """Make the transfers in one transaction.

    :raises Busy: another transaction is in the way, and nothing was done.
    """

    def work() -> list[TransferResult]:
        limit_lock_wait(KEY_WAIT_SECONDS)
        return transfer_in_steps(requests, None, False, caller, whole=True)

    judged = run_unless_locked(work)
    if judged is None:
        raise Busy
    return judged
