"""Common code of tests of unknown outcomes: such a withdrawal, and a resolver."""

from __future__ import annotations

from unittest import mock

from django.conf import settings

from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.payouts import moment, payout, resolver
from wallets.services.payouts.payout import Sending
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase
from wallets.tests.clocks import StandingClock
from wallets.tests.fakes import LOOKS_UP_ONLY, Does, FakeBank, InThisThread
from wallets.utils.bank.interface import Answer, Outcome, Payment

LEASE = settings.WITHDRAWAL_LEASE
QUIET = settings.WITHDRAWAL_QUIET_PERIOD
NOT_FOUND = Answer(Outcome.NOT_FOUND, "not found", 404)
PAID = Answer(Outcome.ACCEPTED, "paid", 200)
REFUSED = Answer(Outcome.REJECTED, "refused", 200)
TROUBLE = Answer(Outcome.UNKNOWN, "<h1>Error</h1>", 500)


class ResolverTestCase(WalletTestCase):
    abilities = LOOKS_UP_ONLY

    def setUp(self) -> None:
        super().setUp()
        self.bank = FakeBank(self.abilities)
        self.time = StandingClock()
        self.time.start()
        self.addCleanup(self.time.stop)
        self.deposit(1000)
        patch = mock.patch.object(resolver, "ThreadPoolExecutor", InThisThread)
        patch.start()
        self.addCleanup(patch.stop)

    def take_up(self, withdrawal: Transaction, unknown: bool) -> None:
        """Claim the withdrawal and call the bank; record nothing unless `unknown`."""
        if unknown:
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        else:
            rows = Transaction.objects.filter(pk=withdrawal.pk)
            for sending in payout.claim(
                rows, bank=self.bank.abilities, limit=1, now=self.now
            ).sendings:
                self.bank.pay(sending.payment)

    def unknown(self, does: Does = Does.LOSE) -> Transaction:
        """Return a withdrawal whose sender got no answer."""
        withdrawal = self.due_withdrawal(100)
        self.bank.script.append(does)
        self.time.stand_at(0)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        return withdrawal

    def crashed(self) -> tuple[Transaction, Sending]:
        """Return a withdrawal whose sender died after the claim."""
        withdrawal = self.due_withdrawal(100)
        rows = Transaction.objects.filter(pk=withdrawal.pk)
        self.time.stand_at(0)
        (sending,) = payout.claim(
            rows, bank=self.bank.abilities, limit=1, now=self.now
        ).sendings
        return withdrawal, sending

    def resolve(self, at: float, *answers: Answer, database: float = 0) -> int:
        """Do one sweep after `at` seconds; the bank gives these answers to look-ups.

        The database's clock is ahead by `database` seconds.
        """
        self.bank.look_up_script.extend(answers)
        self.time.stand_at(at)
        now = self.after(at + database)
        return resolver.resolve_due(bank=self.bank, limit=100, now=now)

    def run_round(self) -> int:
        """Do one sweep by the present clocks."""
        return resolver.resolve_due(bank=self.bank, limit=100)

    def resolve_frozen_until(self, end: float, *, at: float) -> None:
        """Do one sweep that looks up at `at`, and records the answers at `end`."""
        with mock.patch.object(
            moment, "database_now", side_effect=[self.after(at), self.after(end)]
        ):
            self.time.stand_at(at)
            look_up = self.bank.look_up

            def freeze(payment: Payment) -> Answer:
                self.time.stand_at(end)
                return look_up(payment)

            with mock.patch.object(self.bank, "look_up", freeze):
                self.run_round()

    def sweep_until(self, end: float, step: float = 5) -> None:
        """Sweep every `step` seconds until `end`, like Beat."""
        at = 0.0
        while at <= end:
            self.resolve(at)
            at += step

    def assert_state(self, withdrawal: Transaction, state: State) -> None:
        withdrawal.refresh_from_db()
        self.assertIs(withdrawal.state, state)

    def assert_held(self, amount: int = 100) -> None:
        self.assert_money(self.alice, balance=1000 - amount, held=amount)
