"""The only writer of movements and balances.

The exception is the one statement of `services.ledger.ledger_postgresql`. Every function here
is a step: call it inside a transaction, after `lock_wallets`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from wallets.errors import BalanceLimit, InsufficientBalance
from wallets.models.base import MAX_MONEY
from wallets.models.ledger import Account, Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.utils.database.batch import (
    GuardedUpdate,
    as_new,
    guarded_updates,
    insert_rows,
)
from wallets.utils.database.transactions import lock_rows

_ACCOUNTS = {
    Movement.Kind.DEPOSIT: (Account.OUTSIDE, Account.WALLET),
    Movement.Kind.HOLD: (Account.WALLET, Account.IN_FLIGHT),
    Movement.Kind.SETTLE: (Account.IN_FLIGHT, Account.OUTSIDE),
    Movement.Kind.RELEASE: (Account.IN_FLIGHT, Account.WALLET),
}
_OPENING = {Movement.Kind.DEPOSIT, Movement.Kind.HOLD}


@dataclass(frozen=True)
class Posting:
    """A movement to post: its kind, its transaction, and the number of the attempt."""

    kind: Movement.Kind
    transaction: Transaction
    attempt_number: int = 0


def effect(account: str, kind: str, amount: int) -> int:
    """Return the change of an account by a movement, in minor units."""
    source, target = _ACCOUNTS[Movement.Kind(kind)]
    return amount * ((target == account) - (source == account))


def lock_wallets(wallet_ids: Iterable[int], *, wait: bool = True) -> dict[int, Wallet]:
    """Lock the wallets in the order of their ids; return them by id.

    With `wait=False` wallets that another transaction locks are left out.
    """
    ids = sorted(set(wallet_ids))
    rows = Wallet.objects.filter(pk__in=ids).order_by("pk")
    wallets = lock_rows(rows, skip_locked=not wait)
    return {wallet.pk: wallet for wallet in wallets}


def lock_wallets_by_uuid(
    uuids: Collection[UUID], *, wait: bool = True
) -> dict[UUID, Wallet]:
    """Lock the wallets in the order of their ids; return them by UUID.

    With `wait=False` wallets that another transaction locks are left out.
    """
    rows = Wallet.objects.filter(uuid__in=uuids)
    if connection.vendor == "mysql":
        # MySQL locks rows in the order in which it reads them, and sorts afterwards.
        rows = Wallet.objects.filter(pk__in=sorted(rows.values_list("pk", flat=True)))
    wallets = lock_rows(rows.order_by("pk"), skip_locked=not wait)
    return {wallet.uuid: wallet for wallet in wallets}


def known_wallets(uuids: Collection[UUID]) -> set[UUID]:
    """Return the UUIDs that belong to a wallet. Locks nothing."""
    return set(Wallet.objects.filter(uuid__in=uuids).values_list("uuid", flat=True))


def wallets_for_new_rows(
    uuids: Collection[UUID], *, wait: bool = True
) -> dict[UUID, Wallet]:
    """Return, by UUID, the wallets that new transactions will refer to.

    On MySQL and MariaDB a new row locks its wallet after it has taken its idempotency
    key. All transactions must take wallets before keys, or they deadlock. So the
    wallets are locked here; with `wait=False` those that another transaction locks are
    left out. Other engines lock nothing here.
    """
    if connection.vendor == "mysql":
        return lock_wallets_by_uuid(uuids, wait=wait)
    return {wallet.uuid: wallet for wallet in Wallet.objects.filter(uuid__in=uuids)}


def check_deposit(wallet: Wallet, amount: int) -> None:
    """Refuse a deposit for which the wallet has no room.

    :raises BalanceLimit: balance and held money together would exceed 10**15.
    """
    total = wallet.balance + wallet.held
    if total + amount > MAX_MONEY:
        raise BalanceLimit(f"a wallet holds {MAX_MONEY} at most; this one has {total}")


def check_hold(wallet: Wallet, amount: int) -> None:
    """Refuse a hold that is larger than the balance.

    :raises InsufficientBalance: the balance is smaller than the amount.
    """
    if wallet.balance < amount:
        raise InsufficientBalance(
            f"Insufficient balance: {wallet.balance} available, {amount} needed"
        )


def post(
    entries: Sequence[Posting], wallets: dict[int, Wallet], *, now: datetime
) -> list[Movement]:
    """Write the movements and the resulting balances, all or none.

    Call inside a transaction. The movements get the time `now`, or the time of the
    wallet's last movement if that is later: the times of a statement never decrease, so
    a past balance is one row.

    `wallets` are those that `lock_wallets` returned; they are updated in memory.
    Several entries of one wallet are posted in the given order.

    :raises BalanceLimit: a deposit would exceed the cap.
    :raises InsufficientBalance: a hold is larger than the balance.
    :raises LostRace: a wallet was changed without its lock.
    """
    before = {pk: wallet.movement_count for pk, wallet in wallets.items()}
    movements = [_next_movement(entry, wallets, now) for entry in entries]

    # After this point the movements must be written.
    changed = sorted({movement.wallet_id for movement in movements})
    guarded_updates(Wallet, [_update(wallets[pk], before[pk]) for pk in changed])
    insert_rows(Movement, movements)
    return movements


def _update(wallet: Wallet, count_before: int) -> GuardedUpdate:
    return GuardedUpdate(
        {"pk": wallet.pk, "movement_count": count_before},
        {
            "balance": wallet.balance,
            "held": wallet.held,
            "movement_count": wallet.movement_count,
            "updated_at": wallet.updated_at,
        },
    )


def _next_movement(
    entry: Posting, wallets: dict[int, Wallet], now: datetime
) -> Movement:
    """Build the wallet's next movement and advance the wallet in memory."""
    transaction = entry.transaction
    wallet = wallets[transaction.wallet_id]
    source, target = _ACCOUNTS[entry.kind]
    if source == Account.WALLET:
        check_hold(wallet, transaction.amount)
    if entry.kind == Movement.Kind.DEPOSIT:
        check_deposit(wallet, transaction.amount)
    wallet.balance += effect(Account.WALLET, entry.kind, transaction.amount)
    wallet.held += effect(Account.IN_FLIGHT, entry.kind, transaction.amount)
    if wallet.movement_count == 0 or wallet.updated_at < now:
        wallet.updated_at = now
    wallet.movement_count += 1
    opening = entry.kind in _OPENING
    return as_new(
        Movement,
        wallet_id=wallet.pk,
        transaction_id=transaction.pk,
        attempt_number=entry.attempt_number,
        kind=entry.kind,
        leg=Movement.Leg.OPEN if opening else Movement.Leg.CLOSE,
        from_account=source,
        to_account=target,
        amount=transaction.amount,
        sequence=wallet.movement_count,
        balance_after=wallet.balance,
        created_at=wallet.updated_at,
    )
