"""The only writer of movements and balances.

The exceptions are the statements of `services.ledger.ledger_postgresql` and
`services.ledger.transfers_postgresql`. Every function here
is a step: call it inside a transaction, after `lock_wallets`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from wallets.errors import (
    BalanceLimit,
    InsufficientBalance,
    WalletClosed,
    WalletFrozen,
)
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


class _Form(NamedTuple):
    """The accounts and the leg of the movements of one kind."""

    source: Account
    target: Account
    leg: Movement.Leg


_FORMS = {
    Movement.Kind.DEPOSIT: _Form(Account.OUTSIDE, Account.WALLET, Movement.Leg.OPEN),
    Movement.Kind.HOLD: _Form(Account.WALLET, Account.IN_FLIGHT, Movement.Leg.OPEN),
    Movement.Kind.SETTLE: _Form(Account.IN_FLIGHT, Account.OUTSIDE, Movement.Leg.CLOSE),
    Movement.Kind.RELEASE: _Form(Account.IN_FLIGHT, Account.WALLET, Movement.Leg.CLOSE),
    Movement.Kind.TRANSFER_OUT: _Form(
        Account.WALLET, Account.CLEARING, Movement.Leg.OUT
    ),
    Movement.Kind.TRANSFER_IN: _Form(Account.CLEARING, Account.WALLET, Movement.Leg.IN),
    Movement.Kind.CORRECTION_OUT: _Form(
        Account.WALLET, Account.OUTSIDE, Movement.Leg.BACK
    ),
    Movement.Kind.CORRECTION_IN: _Form(
        Account.OUTSIDE, Account.WALLET, Movement.Leg.BACK
    ),
    Movement.Kind.RETURN: _Form(Account.OUTSIDE, Account.WALLET, Movement.Leg.BANK),
}


@dataclass(frozen=True)
class Posting:
    """A movement to post: its kind and its transaction.

    `attempt_number` is for the movements of a withdrawal, `transfer` (its UUID) for
    those of a transfer.
    """

    kind: Movement.Kind
    transaction: Transaction
    attempt_number: int = 0
    transfer: UUID | None = None


def effect(account: str, kind: str, amount: int) -> int:
    """Return the change of an account by a movement, in minor units."""
    source, target, _ = _FORMS[Movement.Kind(kind)]
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
    """Lock the wallets that new transactions will refer to; return them by UUID.

    Until the end of the transaction they can be neither frozen nor closed. With
    `wait=False` wallets that another transaction locks are left out.

    On PostgreSQL it is the lock that a foreign key takes: deposits and claims do not
    wait for it. On MySQL and MariaDB a new row locks its wallet after it has taken its
    idempotency key, and all transactions must take wallets before keys, or they
    deadlock. So the wallets are locked here as for a deposit.
    """
    if connection.vendor != "postgresql":
        return lock_wallets_by_uuid(uuids, wait=wait)
    sql = "SELECT id FROM wallets_wallet WHERE uuid = ANY (%s) ORDER BY id"
    sql += " FOR KEY SHARE" if wait else " FOR KEY SHARE SKIP LOCKED"
    with connection.cursor() as cursor:
        cursor.execute(sql, [list(uuids)])
        ids = [pk for (pk,) in cursor.fetchall()]
    # Read after they are locked.
    return {wallet.uuid: wallet for wallet in Wallet.objects.filter(pk__in=ids)}


def check_open(wallet: Wallet) -> None:
    """Refuse whatever would change a closed wallet.

    :raises WalletClosed: it is closed.
    """
    if wallet.closed:
        raise WalletClosed(f"The wallet {wallet.uuid} is closed.")


def check_can_receive(wallet: Wallet) -> None:
    """Refuse money for a wallet that takes none. For a locked wallet.

    Money that was held returns in any case: a release is not checked.

    :raises WalletClosed: it is closed.
    :raises WalletFrozen: it is frozen for what comes in.
    """
    check_open(wallet)
    if wallet.frozen_in:
        raise WalletFrozen(f"The wallet {wallet.uuid} is frozen: it takes no money.")


def check_can_pay(wallet: Wallet) -> None:
    """Refuse money from a wallet that gives none. For a locked wallet.

    :raises WalletClosed: it is closed.
    :raises WalletFrozen: it is frozen for what goes out.
    """
    check_open(wallet)
    if wallet.frozen_out:
        raise WalletFrozen(f"The wallet {wallet.uuid} is frozen: it gives no money.")


def check_deposit(wallet: Wallet, amount: int) -> None:
    """Refuse money from elsewhere for which the wallet has no room.

    :raises BalanceLimit: balance and held money together would exceed 10**15.
    """
    total = wallet.balance + wallet.held
    if total + amount > MAX_MONEY:
        raise BalanceLimit(f"a wallet holds {MAX_MONEY} at most; this one has {total}")


def check_hold(wallet: Wallet, amount: int) -> None:
    """Refuse to take more from a wallet than its balance.

    :raises InsufficientBalance: the balance is smaller than the amount.
    """
    if wallet.balance < amount:
        raise InsufficientBalance(
            f"Insufficient balance: {wallet.balance} minor units available,"
            f" {amount} needed"
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

    :raises BalanceLimit: money from elsewhere would exceed the cap.
    :raises WalletFrozen: a deposit into a wallet that is frozen for what comes in.
    :raises WalletClosed: a deposit into a closed wallet.
    :raises InsufficientBalance: an amount is larger than the balance.
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
    source, target, leg = _FORMS[entry.kind]
    if source == Account.WALLET:
        check_hold(wallet, transaction.amount)
    if entry.kind == Movement.Kind.DEPOSIT:
        check_can_receive(wallet)
    # Money that is released was part of the total before.
    if target == Account.WALLET and source != Account.IN_FLIGHT:
        check_deposit(wallet, transaction.amount)
    wallet.balance += effect(Account.WALLET, entry.kind, transaction.amount)
    wallet.held += effect(Account.IN_FLIGHT, entry.kind, transaction.amount)
    if wallet.movement_count == 0 or wallet.updated_at < now:
        wallet.updated_at = now
    wallet.movement_count += 1
    return as_new(
        Movement,
        wallet_id=wallet.pk,
        transaction_id=transaction.pk,
        transfer_id=entry.transfer,
        attempt_number=entry.attempt_number,
        kind=entry.kind,
        leg=leg,
        from_account=source,
        to_account=target,
        amount=transaction.amount,
        sequence=wallet.movement_count,
        balance_after=wallet.balance,
        created_at=wallet.updated_at,
    )
