"""The transfers of one transaction: check each in turn, then write all.

`services.transfers.transfer` opens the transactions.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from wallets.errors import (
    BalanceLimit,
    CurrencyMismatch,
    IdempotencyKeyReused,
    InsufficientBalance,
    InvalidInput,
    LostRace,
)
from wallets.models.base import MAX_MONEY
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.requests import idempotency
from wallets.services.requests.batch import Batch, NotDone
from wallets.services.requests.busy import Busy
from wallets.services.requests.checks import UnknownWallet
from wallets.services.requests.completed import completed
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.batch import as_new, insert_rows
from wallets.utils.database.transactions import database_now
from wallets.utils.words import NO_WORDS, Words

_OUT = Transaction.TransactionType.TRANSFER_OUT
_IN = Transaction.TransactionType.TRANSFER_IN


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """A transfer to make; the amount is in minor units.

    The client's words become those of both halves.
    """

    from_wallet: uuid.UUID
    to_wallet: uuid.UUID
    amount: int
    key: uuid.UUID
    words: Words = NO_WORDS

    @property
    def scheduled_for(self) -> None:
        """A transfer is made at once."""
        return None

    @property
    def fails_if_frozen(self) -> bool:
        """A transfer does not wait for a frozen wallet."""
        return False

    @property
    def wallet_uuid(self) -> uuid.UUID:
        """The wallet that pays; the key is that of its half."""
        return self.from_wallet


class TransferReceipt(NamedTuple):
    """A transfer that was made, by this request or by an earlier one with its key.

    `balance_after` is the paying wallet's balance after it (minor units).
    """

    request: TransferRequest
    transfer: Transfer
    balance_after: int
    replayed: bool = False


# The receipt, or the reason why there is none.
TransferResult = TransferReceipt | NotDone


def transfer_in_steps(
    requests: Sequence[TransferRequest],
    now: datetime | None = None,
    wait: bool = True,
    caller: Caller = ANYBODY,
    *,
    whole: bool = False,
) -> list[TransferResult]:
    """Make transfers as `transfer_many` does. Call inside a transaction.

    Locks all wallets of all requests by one query, in the order of their ids. With
    `wait=False` a key that another transaction uses at this moment raises a lock
    time-out, on engines that can tell.

    :raises Busy: with `whole`, if another transaction locks one of the wallets.
    :raises LostRace: another transaction has taken one of the keys meanwhile.
    """
    uuids = {one for each in requests for one in (each.from_wallet, each.to_wallet)}
    wallets = postings.lock_wallets_by_uuid(uuids, wait=wait)
    others = uuids - wallets.keys()
    held = postings.known_wallets(others) if others and not wait else set()
    if whole and held:
        raise Busy(wallets=held)
    # Read the keys after the wallets are locked: an earlier request with the same key
    # has then been committed, or has not begun.
    keys = [one.key for one in requests]
    made = idempotency.find_made(keys, tenant=caller.tenant, wait=wait)
    batch = _Transfers(
        wallets=wallets,
        held=held,
        made=made,
        done=_find_done(made.values()),
        now=now or database_now(),
        caller=caller,
    )
    return batch.results(requests)


class _Done(NamedTuple):
    """A transfer that exists, and the paying wallet's balance after it."""

    transfer: Transfer
    to_wallet: uuid.UUID
    balance_after: int


@dataclass
class _Money:
    """A wallet's money after the requests that have been accepted so far."""

    balance: int
    held: int

    @property
    def total(self) -> int:
        return self.balance + self.held


@dataclass(kw_only=True)
class _Transfers(Batch[TransferRequest, TransferReceipt]):
    """The transfers of one transaction; `done` has those that exist, by debit.

    Each request is checked against the balances after the requests before it.
    """

    done: dict[int, _Done]
    _money: dict[int, _Money] = field(default_factory=dict)
    _asked: dict[uuid.UUID, TransferRequest] = field(default_factory=dict)

    transaction_type = _OUT

    def plan(self, request: TransferRequest) -> Transaction:
        # The order of the refusals is part of the contract (docs/transfers.md).
        source, target = self._wallets_of(request)
        if source.currency != target.currency:
            raise CurrencyMismatch(
                f"The wallets have {source.currency} and {target.currency}."
            )
        postings.check_can_pay(source)
        postings.check_can_receive(target)
        available, room = self._money_of(source), self._money_of(target)
        if available.balance < request.amount:
            raise InsufficientBalance(
                f"Insufficient balance: {available.balance} minor units available,"
                f" {request.amount} needed"
            )
        if room.total + request.amount > MAX_MONEY:
            # Without the balance, which is not the payer's business.
            raise BalanceLimit(f"the receiving wallet holds {MAX_MONEY} at most")

        # After this point later requests are checked as if this one were done.
        available.balance -= request.amount
        room.balance += request.amount
        self._asked[request.key] = request
        return self._half(_OUT, source, request, request.key)

    def write(self, rows: Sequence[Transaction]) -> None:
        """Write the other halves, the movements, and the rows of the transfers."""
        if len(rows) < len(self._asked):
            # Later requests were accepted because of this one's money.
            raise LostRace("another transaction has taken one of the keys")
        requests = [self._asked[debit.idempotency_key] for debit in rows]
        credits = [
            self._half(_IN, self.wallets[request.to_wallet], request, uuid.uuid4())
            for request in requests
        ]
        idempotency.insert_new(credits)
        transfers = [
            as_new(
                Transfer,
                uuid=uuid.uuid4(),
                from_wallet_id=debit.wallet_id,
                to_wallet_id=credit.wallet_id,
                debit_id=debit.pk,
                credit_id=credit.pk,
                amount=debit.amount,
                created_at=self.now,
            )
            for debit, credit in zip(rows, credits, strict=True)
        ]
        halves = zip(rows, credits, transfers, strict=True)
        movements = postings.post(
            [each for half in halves for each in _entries(*half)],
            {wallet.pk: wallet for wallet in self.wallets.values()},
            now=self.now,
        )
        insert_rows(Transfer, transfers)
        for request, transfer, movement in zip(
            requests, transfers, movements[::2], strict=True
        ):
            self.done[transfer.debit_id] = _Done(
                transfer, request.to_wallet, movement.balance_after
            )

    def receipt(
        self, request: TransferRequest, row: Transaction, *, replayed: bool
    ) -> TransferReceipt:
        done = self.done[row.pk]
        return TransferReceipt(request, done.transfer, done.balance_after, replayed)

    def check_same(self, made: Transaction, request: TransferRequest) -> None:
        super().check_same(made, request)
        # A repeated key of this batch is of a row without a transfer yet.
        to_wallet = (
            self.done[made.pk].to_wallet
            if made.pk in self.done
            else self._asked[request.key].to_wallet
        )
        if to_wallet != request.to_wallet:
            raise IdempotencyKeyReused(
                "This idempotency key was used for another request before."
            )

    def _wallets_of(self, request: TransferRequest) -> tuple[Wallet, Wallet]:
        """Return both wallets.

        :raises InvalidInput: they are the same wallet.
        :raises UnknownWallet: one of them does not exist.
        :raises Busy: another transaction locks one of them.
        """
        ends = {"from": request.from_wallet, "to": request.to_wallet}
        if request.from_wallet == request.to_wallet:
            raise InvalidInput(
                "Money moves between two wallets.", field="to", code="same_wallet"
            )
        for name, one in ends.items():
            if one not in self.wallets and one not in self.held:
                raise UnknownWallet(one, field=name)
        if locked := self.held.intersection(ends.values()):
            raise Busy(wallets=locked)
        return self.wallets[request.from_wallet], self.wallets[request.to_wallet]

    def _money_of(self, wallet: Wallet) -> _Money:
        if wallet.pk not in self._money:
            self._money[wallet.pk] = _Money(wallet.balance, wallet.held)
        return self._money[wallet.pk]

    def _half(
        self, kind: str, wallet: Wallet, request: TransferRequest, key: uuid.UUID
    ) -> Transaction:
        asked = request.amount, key, self.now, self.caller, request.words
        columns = completed(kind, *asked)
        return as_new(Transaction, wallet_id=wallet.pk, **columns)


def _entries(
    debit: Transaction, credit: Transaction, transfer: Transfer
) -> tuple[Posting, Posting]:
    kinds = Movement.Kind
    return (
        Posting(kinds.TRANSFER_OUT, debit, transfer=transfer.uuid),
        Posting(kinds.TRANSFER_IN, credit, transfer=transfer.uuid),
    )


def _find_done(made: Iterable[Transaction]) -> dict[int, _Done]:
    """Return the transfers of these debits, by debit. No query for none."""
    ids = [row.pk for row in made if row.transaction_type == _OUT]
    movements = Movement.objects.filter(transaction__in=ids)
    balances: Mapping[int, Any] = dict(
        movements.values_list("transaction_id", "balance_after")
    )
    rows = Transfer.objects.filter(debit__in=ids).select_related("to_wallet")
    return {
        row.debit_id: _Done(row, row.to_wallet.uuid, balances[row.debit_id])
        for row in rows
    }
