"""Withdrawals that wait for their frozen wallets.

A sweep that meets a due withdrawal of a frozen wallet marks it as waiting; no sweep sees
it again until the freeze has ended. A thread of that sweep marks all other ones, in
batches, and until it has done so the sweep leaves them out: however many there are, they
delay no others. When the freeze has ended, the marks are removed, in batches. A crash in
between loses nothing: the wallet's own mark (`has_waiting`) stays until no withdrawal
waits, and each sweep looks for such wallets first.

A mark is not a state: the withdrawal stays PENDING, or FAILED with a retry to come.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from functools import partial

from django.db.models import Exists, OuterRef, Q, QuerySet

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.operations import alarm
from wallets.services.withdrawals import currency
from wallets.utils.damaged import DAMAGED
from wallets.utils.database.transactions import lock_rows, run_in_transaction

logger = logging.getLogger(__name__)

# The most withdrawals that one transaction marks, or unmarks.
BATCH = 2000
# The most batches of one wallet that one call of `end` unmarks.
MAX_BATCHES = 10
# The most wallets that one call of `end` looks at.
MAX_WALLETS = 100


def begin(rows: Sequence[Transaction]) -> None:
    """Mark these due withdrawals of frozen wallets; the caller has locked both.

    Call inside a transaction.
    """
    if rows:
        _begin([row.pk for row in rows], {row.wallet_id for row in rows})


def begin_for_frozen(due: QuerySet[Transaction]) -> int:
    """Mark at most BATCH of these due withdrawals, all of frozen wallets.

    Opens its own transaction; returns how many it found. Waits for locked wallets,
    for one lock time-out, which it raises. Leaves withdrawals out that another transaction locks, so it can wait for no claim.
    """
    return run_in_transaction(partial(_begin_some, due), patience=0)


def _begin_some(due: QuerySet[Transaction]) -> int:
    frozen = due.filter(_would_wait()).order_by()
    found = list(frozen.values_list("pk", "wallet_id")[:BATCH])
    wallets = postings.lock_wallets({wallet_id for _, wallet_id in found})
    still = {pk for pk, wallet in wallets.items() if wallet.frozen_out}
    pks = [pk for pk, wallet_id in found if wallet_id in still]

    # The wallets are locked: none of them can be unfrozen before this is committed.
    _begin(_lock(due.filter(pk__in=pks)), still)
    return len(found)


def without_held(due: QuerySet[Transaction]) -> QuerySet[Transaction]:
    """Leave out what waits for an operator, and what no sweep claims therefore.

    An alarm says that the bank has paid it, or the bank does not pay its currency.
    """
    return alarm.without_said_paid(currency.payable(due))


def without_frozen(due: QuerySet[Transaction]) -> QuerySet[Transaction]:
    """Leave out what would wait because its wallet is frozen."""
    return due.exclude(_would_wait())


def _would_wait() -> Q:
    """As `due.must_wait`, for a query."""
    frozen = Wallet.objects.filter(pk=OuterRef("wallet"), frozen_out=True)
    return Q(Exists(frozen), fails_if_frozen=False)


def _begin(pks: Sequence[int], wallet_ids: Collection[int]) -> None:
    _mark(pks, waits=True)
    wallets = Wallet.objects.filter(pk__in=wallet_ids, has_waiting=False)
    wallets.update(has_waiting=True)


def ended() -> QuerySet[Wallet]:
    """Return the wallets that are not frozen, and whose withdrawals may still wait."""
    return Wallet.objects.filter(has_waiting=True, frozen_out=False).order_by("pk")


def end(wallet_id: int | None = None) -> int:
    """Unmark withdrawals of wallets that are not frozen; return how many.

    Opens its own transactions, each bounded. With `wallet_id` only those of this
    wallet. What is left is done by the next call. Damaged rows stay as they are.
    """
    wallets = ended() if wallet_id is None else ended().filter(pk=wallet_id)
    total = 0
    for pk in list(wallets.values_list("pk", flat=True)[:MAX_WALLETS]):
        try:
            total += _end_for(pk)
        except DAMAGED:
            logger.exception("damaged rows: left as they are, verify the ledger")
    return total


def _end_for(wallet_id: int) -> int:
    total = 0
    for _ in range(MAX_BATCHES):
        count = run_in_transaction(partial(_end_some, wallet_id))
        total += count
        if count < BATCH:
            run_in_transaction(partial(_end_of, wallet_id))
            break
    return total


def _end_some(wallet_id: int) -> int:
    rows = Transaction.objects.filter(
        Transaction.has_not_ended(), wallet=wallet_id, waits_for_wallet=True
    )
    return _mark(_lock(rows), waits=False)


def _end_of(wallet_id: int) -> None:
    """Remove the wallet's own mark, if no withdrawal waits any more.

    A claim, which marks withdrawals, locks the wallet too. A locked wallet is left to
    the next sweep: nobody may be paid later because of it.
    """
    if not postings.lock_wallets([wallet_id], wait=False):
        return
    left = Transaction.objects.filter(
        Transaction.has_not_ended(), wallet=wallet_id, waits_for_wallet=True
    )
    if not left.exists():
        Wallet.objects.filter(pk=wallet_id).update(has_waiting=False)


def _lock(rows: QuerySet[Transaction]) -> Sequence[int]:
    """Lock at most BATCH rows that nobody else locks; return their ids.

    In no order: nothing waits, and an order would read all rows that earlier calls
    have marked again.
    """
    ids = rows.order_by().values_list("pk", flat=True)[:BATCH]
    return lock_rows(ids, skip_locked=True)


def _mark(ids: Sequence[int], *, waits: bool) -> int:
    """Mark locked rows; return how many changed."""
    changed = Transaction.objects.filter(pk__in=ids, waits_for_wallet=not waits)
    return changed.update(waits_for_wallet=waits)
