"""The requests of one transaction: check each in turn, then write the new ones.

This module knows idempotency keys, but no kind of transaction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

from wallets.errors import IdempotencyKeyReused, Refusal
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.requests import idempotency
from wallets.services.requests.busy import Busy
from wallets.services.requests.checks import checked_amount
from wallets.utils.caller import Caller
from wallets.utils.words import Words

# Why a request has no receipt.
NotDone = Refusal | Wallet.DoesNotExist | Busy


class Request(Protocol):
    """What its key stands for; the amount is in minor units."""

    @property
    def key(self) -> UUID: ...
    @property
    def wallet_uuid(self) -> UUID: ...
    @property
    def amount(self) -> int: ...
    @property
    def scheduled_for(self) -> datetime | None: ...
    @property
    def fails_if_frozen(self) -> bool: ...
    @property
    def words(self) -> Words: ...


Q = TypeVar("Q", bound=Request)
R = TypeVar("R")  # the receipt of a request


@dataclass(kw_only=True)
class Batch(ABC, Generic[Q, R]):
    """Requests of one kind and one caller, made at `now`.

    `wallets` are those that new transactions may refer to, `held` those that another
    transaction locks. `made` are the transactions of the caller's tenant that have the
    requests' keys already.
    """

    wallets: Mapping[UUID, Wallet]
    held: set[UUID]
    made: dict[UUID, Transaction]
    now: datetime
    caller: Caller
    _put_off: set[UUID] = field(default_factory=set)
    _new: dict[UUID, Transaction] = field(default_factory=dict)

    transaction_type: ClassVar[str]

    @abstractmethod
    def plan(self, request: Q) -> Transaction:
        """Return the new transaction of the request, or one that it has made already.

        :raises Busy: another transaction locks the wallet.
        :raises Refusal: the request breaks a rule.
        :raises Wallet.DoesNotExist: no such wallet.
        """

    @abstractmethod
    def write(self, rows: Sequence[Transaction]) -> None:
        """Write what belongs to the new transactions, which have their ids now."""

    @abstractmethod
    def receipt(self, request: Q, row: Transaction, *, replayed: bool) -> R:
        """Return the receipt of a request that `row` was made for."""

    def check_same(self, made: Transaction, request: Q) -> None:
        """Check that `made` was made for the same request.

        :raises IdempotencyKeyReused: it was made for another one.
        """
        idempotency.check_same(
            made,
            transaction_type=self.transaction_type,
            wallet_uuid=request.wallet_uuid,
            amount=request.amount,
            scheduled_for=request.scheduled_for,
            fails_if_frozen=request.fails_if_frozen,
            words=request.words,
        )

    def results(self, requests: Sequence[Q]) -> list[R | NotDone]:
        """Do the requests; return one result each, in order.

        Call inside a transaction. Among requests with the same key, the first one
        counts; the others are replays.
        """
        judged = [self._judge(request) for request in requests]

        # After this point the new transactions must be written.
        planned = list(self._new.values())
        self.made |= idempotency.insert_new(planned)
        self.write([row for row in planned if row.pk is not None])
        return [self._result(*each) for each in zip(requests, judged, strict=True)]

    def wallet_of(self, request: Q) -> Wallet:
        """Return the wallet of the request.

        :raises Busy: another transaction locks it.
        :raises Wallet.DoesNotExist: no such wallet.
        """
        if request.wallet_uuid in self.held:
            raise Busy
        if request.wallet_uuid not in self.wallets:
            raise Wallet.DoesNotExist(f"no wallet {request.wallet_uuid}")
        return self.wallets[request.wallet_uuid]

    def _judge(self, request: Q) -> R | Transaction | NotDone | None:
        """Accept, replay or refuse the request. None: a repeated key of this batch."""
        key = request.key
        try:
            checked_amount(request.amount)
            if key in self.made:
                return self._replay(self.made[key], request)
            # The first request with a key counts, even when it is `Busy`.
            if key in self._put_off:
                return Busy()
            if key in self._new:
                return None
            planned = self.plan(request)
            if planned.pk:
                return self._replay(planned, request)
        except Busy as busy:
            self._put_off.add(key)
            return busy
        except (Refusal, Wallet.DoesNotExist) as refusal:
            return refusal
        planned.wallet = self.wallets[request.wallet_uuid]
        self._new[key] = planned
        return planned

    def _result(
        self, request: Q, judged: R | Transaction | NotDone | None
    ) -> R | NotDone:
        if judged is not None and not isinstance(judged, Transaction):
            return judged
        if judged and judged.pk:
            return self.receipt(request, judged, replayed=False)
        # The key was used earlier in this batch, or by another transaction meanwhile.
        key = request.key
        try:
            return self._replay(self.made.get(key) or self._new[key], request)
        except IdempotencyKeyReused as refusal:
            return refusal

    def _replay(self, made: Transaction, request: Q) -> R:
        self.check_same(made, request)
        return self.receipt(request, made, replayed=True)
