"""The stories of `machine`, with transfers, freezes, corrections and closes between them.

The wallet of the withdrawals has a neighbour, which is never frozen. The story knows what
each of them must have, and which request must be refused with which error.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from wallets.errors import (
    AlreadyReturned,
    CorrectionTooLarge,
    InsufficientBalance,
    NotReturnable,
    ReturnTooLarge,
    WalletClosed,
    WalletFrozen,
    WalletNotEmpty,
)
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.corrections import correction
from wallets.services.operations.payment_return import record_return
from wallets.services.transfers.transfer import transfer
from wallets.services.wallet import WalletService
from wallets.services.wallets import life
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders
from wallets.tests.base import OSCAR
from wallets.tests.fakes import Does
from wallets.tests.machine import DOES, SOME, STEPS, Story, step

NEIGHBOUR_HAS = 100
AMOUNTS = st.sampled_from([1, 20, 60, 150])
DIRECTIONS = st.sampled_from(["out", "out", "in", "both"])
# How much of what was moved is taken back, in tenths.
TENTHS = st.sampled_from([1, 5, 10, 11])

NEW_STEPS = st.one_of(
    step("pay_neighbour", amount=AMOUNTS),
    step("get_from_neighbour", amount=AMOUNTS),
    *[step("freeze", direction=DIRECTIONS)] * 2,
    step("unfreeze"),
    step("fall_due_while_frozen", which=SOME, does=DOES),
    step("correct", which=SOME, tenths=TENTHS),
    step("bank_returns", which=SOME, tenths=TENTHS),
    step("try_to_close"),
    step("open_use_and_close", amount=AMOUNTS),
)


@dataclass
class Moved:
    """A deposit or a transfer: its id, its amount, and what is left to correct."""

    pk: int
    amount: int
    left: int
    kind: str


class WalletStory(Story):
    """A story in which the wallets live, too."""

    def __init__(self) -> None:
        super().__init__()
        self.neighbour = builders.wallet_with(NEIGHBOUR_HAS)
        self.neighbour_has = NEIGHBOUR_HAS
        self.frozen: set[str] = set()
        self.moved: list[Moved] = []
        self.returned: dict[int, int] = {}

    @rule(what=st.one_of(STEPS, NEW_STEPS))
    def happens(self, what: tuple[str, dict]) -> None:
        name, arguments = what
        getattr(self, name)(**arguments)

    # --- what the other steps meet ---

    def schedule(self, deposit: int, amount: int, wait: int) -> None:
        """As without freezes; refused in a frozen wallet. Odd ones fail if frozen."""
        if len(self.withdrawals) == 4:
            return
        if deposit:
            self.deposit(deposit)
        when = self.now + timedelta(seconds=wait)
        made = self.ask(
            lambda: WithdrawalService.schedule(
                self.wallet.uuid,
                amount,
                when,
                fails_if_frozen=bool(amount % 2),
                now=self.now,
            ),
            WalletFrozen if "out" in self.frozen else None,
        )
        if made is not None:
            self.withdrawals.append(made.pk)

    def deposit(self, amount: int) -> None:
        made = self.ask(
            lambda: builders.deposit(self.wallet, amount),
            WalletFrozen if "in" in self.frozen else None,
        )
        if made is not None:
            self.deposited += amount
            self.moved.append(Moved(made.pk, amount, amount, "deposit"))

    def claim(self) -> None:
        """Nothing of a frozen wallet is claimed."""
        before = len(self.senders)
        super().claim()
        assert "out" not in self.frozen or len(self.senders) == before

    def settle(self) -> None:
        """What waits for the freeze's end is paid after it."""
        self.unfreeze()
        super().settle()

    # --- the new steps ---

    def pay_neighbour(self, amount: int) -> None:
        expected = None
        if "out" in self.frozen:
            expected = WalletFrozen
        elif amount > self.balance():
            expected = InsufficientBalance
        made = self.ask(
            lambda: transfer(
                self.wallet.uuid, self.neighbour.uuid, amount, now=self.now
            ),
            expected,
        )
        if made is not None:
            self.deposited -= amount
            self.neighbour_has += amount
            self.moved.append(Moved(made.debit_id, amount, amount, "out"))

    def get_from_neighbour(self, amount: int) -> None:
        expected = None
        if "in" in self.frozen:
            expected = WalletFrozen
        elif amount > self.neighbour_has:
            expected = InsufficientBalance
        made = self.ask(
            lambda: transfer(
                self.neighbour.uuid, self.wallet.uuid, amount, now=self.now
            ),
            expected,
        )
        if made is not None:
            self.deposited += amount
            self.neighbour_has -= amount
            self.moved.append(Moved(made.credit_id, amount, amount, "in"))

    def freeze(self, direction: str) -> None:
        life.freeze(
            self.wallet.uuid, direction, reason="court", actor=OSCAR, now=self.now
        )
        self.frozen |= {"in", "out"} if direction == "both" else {direction}

    def unfreeze(self) -> None:
        life.unfreeze(
            self.wallet.uuid, "both", reason="ended", actor=OSCAR, now=self.now
        )
        self.frozen.clear()

    def fall_due_while_frozen(self, which: int, does: Does) -> None:
        """What is due is met by a sweep and by a message; nothing of it is paid."""
        self.freeze("out")
        requests = len(self.bank.requests)
        self.claim()
        self.message(which, does)
        assert len(self.bank.requests) == requests

    def correct(self, which: int, tenths: int) -> None:
        """Take back a part, all, or more, of something; a freeze does not matter."""
        if not self.moved:
            return
        one = self.some(self.moved, which)
        amount = max(1, one.amount * tenths // 10)
        has = self.neighbour_has if one.kind == "out" else self.balance()
        expected: type[Exception] | None = None
        if amount > one.left:
            expected = CorrectionTooLarge
        elif amount > has:
            expected = InsufficientBalance
        made = self.ask(
            lambda: correction.correct(
                one.pk, amount, reason="mistyped", actor=OSCAR, now=self.now
            ),
            expected,
        )
        if made is None:
            return
        one.left -= amount
        assert made.left_after == one.left
        self.deposited += amount if one.kind == "out" else -amount
        self.neighbour_has += {"out": -amount, "in": amount}.get(one.kind, 0)

    def bank_returns(self, which: int, tenths: int) -> None:
        """All or a part of a payment comes back, once; a freeze does not matter.

        Where nothing is paid, nothing comes back.
        """
        if not self.withdrawals:
            return
        rows = Transaction.objects.filter(pk__in=self.withdrawals, status="COMPLETED")
        paid = list(rows.order_by("pk").values_list("pk", flat=True))
        pk = self.some(paid or self.withdrawals, which)
        row = Transaction.objects.get(pk=pk)
        amount = max(1, row.amount * tenths // 10)
        before = self.returned.get(pk)
        expected: type[Exception] | None = None
        if row.status != Transaction.Status.COMPLETED:
            expected = NotReturnable
        elif before not in (None, amount):
            expected = AlreadyReturned
        elif amount > row.amount:
            expected = ReturnTooLarge
        told = {"return_reference": f"return {pk}", "reason": "closed", "actor": OSCAR}
        made = self.ask(
            lambda: record_return(pk, amount, now=self.now, **told), expected
        )
        if made is not None and before is None:
            self.returned[pk] = amount
            self.deposited += amount
            self.moved.append(Moved(made.credit_id, amount, amount, "return"))

    def try_to_close(self) -> None:
        """A wallet with money or with withdrawals that have not ended is not closed."""
        wallet = Wallet.objects.get(pk=self.wallet.pk)
        if wallet.balance or wallet.held or self.unfinished():
            self.ask(lambda: self.close(self.wallet), WalletNotEmpty)

    def open_use_and_close(self, amount: int) -> None:
        """A third wallet gets money, gives it back, is closed, and takes no more."""
        amount = min(amount, self.neighbour_has)
        third = WalletService.create()
        neighbour = self.neighbour.uuid
        if amount:
            transfer(neighbour, third.uuid, amount, now=self.now)
            self.ask(lambda: self.close(third), WalletNotEmpty)
            transfer(third.uuid, neighbour, amount, now=self.now)
        self.close(third)
        self.ask(lambda: builders.deposit(third, 1), WalletClosed)
        if self.neighbour_has:
            self.ask(
                lambda: transfer(neighbour, third.uuid, 1, now=self.now), WalletClosed
            )

    # --- invariants and helpers ---

    @invariant()
    def the_neighbour_has_its_money(self) -> None:
        """Nothing is lost or made between the two wallets."""
        neighbour = Wallet.objects.get(pk=self.neighbour.pk)
        found = (neighbour.balance, neighbour.held)
        assert found == (self.neighbour_has, 0), f"{found}, not {self.neighbour_has}"

    @invariant()
    def only_what_was_asked_to_fails_for_a_freeze(self) -> None:
        """What was scheduled to wait does not fail for a freeze."""
        failed = Transaction.objects.filter(
            pk__in=self.withdrawals, failure_code="wallet_frozen"
        )
        assert not failed.filter(fails_if_frozen=False).exists(), failed

    def balance(self) -> int:
        return int(
            Wallet.objects.values_list("balance", flat=True).get(pk=self.wallet.pk)
        )

    def close(self, wallet: Wallet) -> None:
        life.close(wallet.uuid, reason="over", actor=OSCAR, now=self.now)

    def ask(self, request: Callable[[], Any], refused: type[Exception] | None) -> Any:
        """Return what the request returns; None if it is refused, as it must be."""
        if refused is None:
            return request()
        with suppress(refused):
            done = request()
            raise AssertionError(f"not refused with {refused.__name__}: {done}")
        return None
