"""A ledger that many transactions write at once, of which each commits when it likes.

Rows get their ids when a transaction begins, and are in the database when it commits: as
on a server, where a lower id may be committed long after a higher one. A wallet, and a
withdrawal, is changed by one transaction at a time. Clocks jump.
"""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.db.models import Max, Model

from events.models.event import Event, Source
from events.services import kinds
from wallets.models.correction import Correction
from wallets.models.ledger import Account, Movement
from wallets.models.payment_return import PaymentReturn
from wallets.models.states import TRANSITIONS, State
from wallets.models.states import Event as Change
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange

ENDED = {State.COMPLETED, State.FAILED_FINAL, State.CANCELLED}
# Of the movements of each kind: from which account to which, and the leg.
FORMS = {
    "deposit": (Account.OUTSIDE, Account.WALLET, "open"),
    "hold": (Account.WALLET, Account.IN_FLIGHT, "open"),
    "settle": (Account.IN_FLIGHT, Account.OUTSIDE, "close"),
    "release": (Account.IN_FLIGHT, Account.WALLET, "close"),
    "transfer_out": (Account.WALLET, Account.CLEARING, "out"),
    "transfer_in": (Account.CLEARING, Account.WALLET, "in"),
    "return": (Account.OUTSIDE, Account.WALLET, "bank"),
    "correction_out": (Account.WALLET, Account.OUTSIDE, "back"),
    "correction_in": (Account.OUTSIDE, Account.WALLET, "back"),
}


@dataclass
class Withdrawal:
    """A withdrawal as its last committed transaction left it."""

    row: Transaction
    state: State = State.PENDING
    version: int = 0
    attempt: int = 0
    returned: bool = False


@dataclass
class Incoming:
    """Money that came in and was not corrected: by which leg, and from whom."""

    row: Transaction
    leg: str
    payer: Account_ | None = None
    other_half: Transaction | None = None


@dataclass
class Account_:
    """A wallet: its last movement, and what is under way."""

    row: Wallet
    movements: int = 0
    changes: int = 0
    moved_at: datetime | None = None
    withdrawals: list[Withdrawal] = field(default_factory=list)
    came_in: list[Incoming] = field(default_factory=list)


@dataclass
class Open:
    """A transaction that has not ended: its rows, and what it changes here if it commits."""

    rows: list[Any]
    locks: list[Any]
    then: Callable[[], None]


class Ids(dict[type[Model], Iterator[int]]):
    """New ids of each table: larger than those that its rows have when they begin.

    Servers do not take numbers back, so the rows of a later test may have large ones.
    """

    def __missing__(self, model: type[Model]) -> Iterator[int]:
        newest = model._default_manager.aggregate(newest=Max("pk"))["newest"] or 0
        return self.setdefault(model, count(newest + 1))


class World:
    """The ledger. `dice` decides everything."""

    def __init__(self, dice: random.Random, now: datetime) -> None:
        self.dice = dice
        self.now = now
        self.ids = Ids()
        self.wallets: list[Account_] = []
        self.open: list[Open] = []
        self.locked: list[Any] = []

    def step_clock(self) -> None:
        """Let the clock go on, stand still or jump either way."""
        seconds = self.dice.choice([0, 0, 1e-6, 0.01, 1, 60, -1e-6, -5, -3600])
        self.now += timedelta(seconds=seconds)

    def begin(self) -> None:
        """Begin a transaction that changes what no other one has locked."""
        free = [one for one in self.wallets if one not in self.locked]
        if not free or self.dice.random() < 0.03:
            return self.create_wallet()
        # Mostly the latest wallets, so that each has a long history.
        wallet = self.dice.choice(free[-3:] if self.dice.random() < 0.8 else free)
        kind = self.dice.random()
        if kind < 0.2:
            return self.deposit(wallet)
        paid = [
            one
            for one in wallet.withdrawals
            if one.state is State.COMPLETED and not one.returned
        ]
        if kind < 0.24 and paid:
            return self.give_back(wallet, self.dice.choice(paid))
        if kind < 0.27 and wallet.came_in:
            return self.correct(wallet, self.dice.choice(wallet.came_in))
        if kind < 0.3:
            return self.change_wallet(wallet)
        others = [one for one in free if one is not wallet]
        if kind < 0.4 and others:
            return self.transfer(wallet, self.dice.choice(others))
        idle = [
            one
            for one in wallet.withdrawals
            if one not in self.locked and one.state not in ENDED
        ]
        if kind < 0.5 or not idle:
            return self.schedule(wallet)
        return self.change(wallet, self.dice.choice(idle))

    def end(self, place: int | None = None, *, commit: bool = True) -> None:
        """End one of the open transactions: that at this place, or any."""
        if place is None:
            place = self.dice.randrange(len(self.open))
        one = self.open.pop(place)
        for lock in one.locks:
            self.locked.remove(lock)
        if commit:
            for row in one.rows:
                type(row).objects.bulk_create([row])
            one.then()

    def _hold_open(
        self, rows: list[Any], locks: list[Any], then: Callable[[], None]
    ) -> None:
        self.locked += locks
        self.open.append(Open(rows, locks, then))

    def create_wallet(self) -> None:
        row = Wallet(
            id=next(self.ids[Wallet]), created_at=self.now, updated_at=self.now
        )
        self._hold_open([row], [], lambda: self.wallets.append(Account_(row)))

    def _transaction(self, wallet: Account_, **columns: Any) -> Transaction:
        return Transaction(
            id=next(self.ids[Transaction]),
            wallet=wallet.row,
            amount=5,
            idempotency_key=uuid.UUID(int=self.dice.getrandbits(128)),
            created_at=self.now,
            updated_at=self.now,
            **columns,
        )

    def _movement(
        self,
        wallet: Account_,
        owner: Transaction,
        kind: str,
        attempt: int,
        nth: int = 1,
    ) -> Movement:
        source, target, leg = FORMS[kind]
        moved_at = max(wallet.moved_at or self.now, self.now)
        return Movement(
            id=next(self.ids[Movement]),
            wallet=wallet.row,
            transaction=owner,
            attempt_number=attempt,
            kind=kind,
            leg=leg,
            from_account=source,
            to_account=target,
            amount=5,
            sequence=wallet.movements + nth,
            balance_after=100,
            created_at=moved_at,
        )

    def change_wallet(self, wallet: Account_) -> None:
        """Change, freeze, unfreeze or close a wallet."""
        change = WalletChange(
            id=next(self.ids[WalletChange]),
            wallet=wallet.row,
            sequence=wallet.changes + 1,
            event=self.dice.choice(WalletChange.Event.values),
            before="{}",
            after="{}",
            actor="test",
            created_at=self.now,
        )

        def then() -> None:
            wallet.changes += 1

        self._hold_open([change], [wallet], then)

    def transfer(self, payer: Account_, payee: Account_) -> None:
        """Move money from one wallet to another: locks both."""
        name = uuid.UUID(int=self.dice.getrandbits(128))
        debit, credit = (
            self._transaction(
                wallet,
                transaction_type=kind,
                status="COMPLETED",
                executed_at=self.now,
            )
            for wallet, kind in ((payer, "TRANSFER_OUT"), (payee, "TRANSFER_IN"))
        )
        out, into = (
            self._movement(wallet, owner, owner.transaction_type.lower(), 0)
            for wallet, owner in ((payer, debit), (payee, credit))
        )
        out.transfer_id = into.transfer_id = name
        transfer = Transfer(
            uuid=name,
            from_wallet=payer.row,
            to_wallet=payee.row,
            debit=debit,
            credit=credit,
            amount=5,
            created_at=self.now,
        )

        def then() -> None:
            self._has_moved(payer, [out])
            self._has_moved(payee, [into])
            payee.came_in.append(Incoming(credit, "in", payer, debit))

        self._hold_open([debit, credit, out, into, transfer], [payer, payee], then)

    def deposit(self, wallet: Account_, number: int = 0) -> None:
        """Deposit once or a few times."""
        number = number or self.dice.choice([1, 1, 2, 3])
        owners = [
            self._transaction(
                wallet,
                transaction_type="DEPOSIT",
                status="COMPLETED",
                executed_at=self.now,
            )
            for _ in range(number)
        ]
        moved = [
            self._movement(wallet, owner, "deposit", 0, nth)
            for nth, owner in enumerate(owners, start=1)
        ]

        def then() -> None:
            self._has_moved(wallet, moved)
            wallet.came_in += [Incoming(owner, "open") for owner in owners]

        self._hold_open([*owners, *moved], [wallet], then)

    def give_back(self, wallet: Account_, of: Withdrawal) -> None:
        """Record that the bank has returned a payment: locks its wallet."""
        credit = self._transaction(
            wallet,
            transaction_type="RETURN",
            status="COMPLETED",
            executed_at=self.now,
        )
        moved = self._movement(wallet, credit, "return", 0)
        row = PaymentReturn(
            wallet=wallet.row,
            withdrawal=of.row,
            attempt_number=of.attempt,
            paid=5,
            amount=5,
            credit=credit,
            return_reference="RET 1",
            created_at=self.now,
        )

        def then() -> None:
            of.returned = True
            self._has_moved(wallet, [moved])
            wallet.came_in.append(Incoming(credit, "bank"))

        self._hold_open([credit, moved, row], [wallet], then)

    def correct(self, wallet: Account_, of: Incoming) -> None:
        """Take back what came in: locks its wallet, and the payer's."""
        payer = of.payer
        if payer in self.locked:
            return
        kinds_ = [(wallet, "correction_out")]
        kinds_ += [(payer, "correction_in")] if payer else []
        owners = [
            self._transaction(
                one,
                transaction_type=kind.upper(),
                status="COMPLETED",
                executed_at=self.now,
            )
            for one, kind in kinds_
        ]
        moved = [
            self._movement(one, owner, kind, 0)
            for (one, kind), owner in zip(kinds_, owners, strict=True)
        ]
        row = Correction(
            wallet=wallet.row,
            corrects=of.row,
            corrects_leg=of.leg,
            number=1,
            amount=5,
            left_before=5,
            left_after=0,
            debit=owners[0],
            reason="wrong",
            actor="test",
            created_at=self.now,
        )
        if payer:
            row.payer, row.credit = payer.row, owners[1]
            row.credit_corrects = of.other_half

        def then() -> None:
            wallet.came_in.remove(of)
            for (one, _), movement in zip(kinds_, moved, strict=True):
                self._has_moved(one, [movement])

        locks = [one for one, _ in kinds_]
        self._hold_open([*owners, *moved, row], locks, then)

    def _has_moved(self, wallet: Account_, moved: list[Movement]) -> None:
        if moved:
            wallet.movements = moved[-1].sequence
            wallet.moved_at = moved[-1].created_at

    def schedule(self, wallet: Account_) -> None:
        """Schedule a withdrawal: locks no wallet."""
        owner = self._transaction(
            wallet, transaction_type="WITHDRAWAL", scheduled_for=self.now
        )
        made = Withdrawal(owner)
        first = self._transition(made, "schedule", "", State.PENDING, None)
        first.sequence = 0
        self._hold_open([owner, first], [], lambda: wallet.withdrawals.append(made))

    def _transition(
        self, of: Withdrawal, event: str, before: str, to: State, attempt: int | None
    ) -> Transition:
        return Transition(
            id=next(self.ids[Transition]),
            transaction=of.row,
            sequence=of.version + 1,
            event=event,
            from_state=before,
            to_state=to.value,
            attempt_number=attempt,
            actor="test",
            scheduled_for=self.now if event == Change.RESCHEDULE.value else None,
            created_at=self.now,
        )

    def change(self, wallet: Account_, of: Withdrawal, *only: Change) -> None:
        """Apply any event that the table has for the withdrawal's state, or one of `only`."""
        possible = [
            (event, rule)
            for (state, event), rule in TRANSITIONS.items()
            if state is of.state and (not only or event in only)
        ]
        if not possible:
            return
        event, rule = self.dice.choice(possible)
        attempt = of.attempt + (event in (Change.CLAIM, Change.RECORD_PAID))
        to = rule.to
        if to is State.FAILED_RETRYABLE and self.dice.random() < 0.2:
            to = State.FAILED_FINAL
        row = self._transition(
            of, event.value, of.state.value, to, attempt if attempt else None
        )
        moved = [
            self._movement(wallet, of.row, kind, attempt, nth)
            for nth, kind in enumerate(rule.movements, start=1)
        ]

        def then() -> None:
            of.state, of.version, of.attempt = to, of.version + 1, attempt
            self._has_moved(wallet, moved)

        locks = [of, *([wallet] if moved else [])]
        if any(lock in self.locked for lock in locks):
            return
        self._hold_open([row, *moved], locks, then)


def broken_rules() -> list[str]:
    """Return what is wrong with the feed, compared with the ledger row by row."""
    events = list(Event.objects.order_by("position"))
    place = {(one.source, one.source_id): one.position for one in events}
    wrong = []
    if [one.position for one in events] != list(range(1, len(events) + 1)):
        wrong.append("the positions have a gap")
    expected = {
        (Source.WALLET, pk) for pk in Wallet.objects.values_list("pk", flat=True)
    }
    moved = Movement.objects.filter(kind__in=kinds.OF_MOVEMENTS)
    expected |= {(Source.MOVEMENT, pk) for pk in moved.values_list("pk", flat=True)}
    changes_of_wallets = list(WalletChange.objects.all())
    expected |= {(Source.WALLET_CHANGE, one.pk) for one in changes_of_wallets}
    changes = list(Transition.objects.select_related("transaction"))
    expected |= {(Source.TRANSITION, one.pk) for one in changes}
    if set(place) != expected:
        wrong.append(
            f"missing {expected - set(place)}, invented {set(place) - expected}"
        )
    of_movement = {
        (one.transaction_id, one.attempt_number, kinds.LEGS[one.event]): place.get(
            (Source.TRANSITION, one.pk), 0
        )
        for one in changes
        if one.event in kinds.LEGS
    }
    chains: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for one in Movement.objects.all():
        key = one.transaction_id, one.attempt_number, one.leg
        where = place.get((Source.MOVEMENT, one.pk)) or of_movement.get(key)
        if where:  # the hold of `record_paid` has the place of its settle
            chains["wallet", one.wallet_id].append((one.sequence, where))
    for change in changes:
        where = place.get((Source.TRANSITION, change.pk), 0)
        chains["withdrawal", change.transaction_id].append((change.sequence, where))
    for one in changes_of_wallets:
        where = place.get((Source.WALLET_CHANGE, one.pk), 0)
        chains["changes of wallet", one.wallet_id].append((one.sequence, where))
    for name, chain in chains.items():
        ordered = [where for _, where in sorted(chain)]
        if ordered != sorted(ordered):
            wrong.append(f"{name} is not in order: {sorted(chain)}")
    for event in events:
        if place.get((Source.WALLET, event.wallet_id), 0) > event.position:
            wrong.append(f"event {event.position} is before the creation of its wallet")
    return wrong
