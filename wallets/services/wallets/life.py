"""The life of a wallet: frozen, unfrozen, closed. By an operator, or by a client.

A payment that is on its way goes on in each state, and its money returns even into a
frozen wallet.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime

from wallets.errors import InvalidInput, WalletNotEmpty
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.ledger import postings
from wallets.services.payouts import dispatch, waiting
from wallets.services.requests.checks import check_actor, checked_uuid, checked_words
from wallets.services.wallets import history
from wallets.utils import words
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    database_now,
    run_in_transaction,
)

# The most withdrawals that a refusal to close counts.
MOST_COUNTED = 100
# Directions, and the columns that freeze them.
DIRECTIONS = {
    "in": ("frozen_in",),
    "out": ("frozen_out",),
    "both": ("frozen_in", "frozen_out"),
}


def freeze(
    wallet_uuid: uuid.UUID | str,
    direction: str,
    *,
    reason: str,
    actor: str,
    now: datetime | None = None,
) -> Wallet:
    """Stop what comes in ("in"), what goes out ("out"), or "both".

    Opens its own transaction; locks the wallet, so it waits for a claim or a deposit
    that is under way. A wallet that is frozen so already stays unchanged.

    :raises InvalidInput: an unknown direction; reason or actor is empty or too long.
    :raises WalletClosed: the wallet is closed.
    :raises Wallet.DoesNotExist: no such wallet.
    """
    columns = dict.fromkeys(_columns(direction), True)
    return _change(
        wallet_uuid, WalletChange.Event.FROZEN, columns, reason, actor, now=now
    )


def unfreeze(
    wallet_uuid: uuid.UUID | str,
    direction: str,
    *,
    reason: str,
    actor: str,
    now: datetime | None = None,
) -> Wallet:
    """End a freeze, as `freeze` began it; withdrawals that waited are due again.

    Opens its own transactions; locks the wallet.

    :raises InvalidInput: an unknown direction; reason or actor is empty or too long.
    :raises WalletClosed: the wallet is closed.
    :raises Wallet.DoesNotExist: no such wallet.
    """
    columns = dict.fromkeys(_columns(direction), False)
    wallet = _change(
        wallet_uuid, WalletChange.Event.UNFROZEN, columns, reason, actor, now=now
    )
    # After the commit; if this process ends here, the sweeps do it.
    if wallet.has_waiting and waiting.end(wallet.pk):
        dispatch.hand_over_ended_freeze()
    return wallet


def close(
    wallet_uuid: uuid.UUID | str,
    *,
    reason: str,
    actor: str,
    now: datetime | None = None,
) -> Wallet:
    """Close a wallet for good: it takes, gives and changes nothing any more.

    Opens its own transaction; locks the wallet against every other transaction of it,
    also against withdrawals that are scheduled at this moment. A closed wallet stays
    unchanged.

    :raises InvalidInput: reason or actor is empty or too long.
    :raises WalletNotEmpty: it has money, or withdrawals that have not ended.
    :raises Wallet.DoesNotExist: no such wallet.
    """
    return _change(
        wallet_uuid,
        WalletChange.Event.CLOSED,
        {"closed": True},
        reason,
        actor,
        check=_check_empty,
        now=now,
    )


def _columns(direction: str) -> tuple[str, ...]:
    if direction not in DIRECTIONS:
        raise InvalidInput(
            f"The direction must be one of {', '.join(DIRECTIONS)}.",
            field="direction",
            code="direction_invalid",
        )
    return DIRECTIONS[direction]


def _change(
    wallet_uuid: uuid.UUID | str,
    event: str,
    columns: dict[str, bool],
    reason: str,
    actor: str,
    *,
    check: Callable[[Wallet], None] = postings.check_open,
    now: datetime | None,
) -> Wallet:
    check_actor(actor)
    why = checked_words("reason", words.reason, reason) or ""
    target = checked_uuid(wallet_uuid)

    def work() -> Wallet:
        wallet = history.lock(target)
        check(wallet)

        # After this point the change must be written.
        history.record(
            wallet,
            event,
            columns,
            actor=actor,
            reason=why,
            now=now or database_now(),
        )
        return wallet

    return run_in_transaction(work, patience=CLIENT_PATIENCE_SECONDS)


def _check_empty(wallet: Wallet) -> None:
    """Refuse to close a locked wallet that has something left.

    :raises WalletNotEmpty: money, or a withdrawal that has not ended.
    """
    rows = Transaction.objects.filter(Transaction.has_not_ended(), wallet=wallet.pk)
    left = list(rows.order_by().values_list("pk", flat=True)[: MOST_COUNTED + 1])
    if not (wallet.balance or wallet.held or left):
        return
    few = len(left) <= MOST_COUNTED
    count = str(len(left)) if few else f"more than {MOST_COUNTED}"
    one = f", such as {min(left)}" if left else ""
    raise WalletNotEmpty(
        f"The wallet is not empty. Balance: {wallet.balance}, held: {wallet.held} (minor "
        f"units). Withdrawals that have not ended: {count}{one}."
    )
