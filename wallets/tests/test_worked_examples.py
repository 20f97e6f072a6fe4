"""Worked examples: first the table of movements, then the code that makes them."""

from __future__ import annotations

from wallets.models.ledger import Account, Movement
from wallets.models.transaction import Transaction
from wallets.services.ledger import postings
from wallets.services.operations import review
from wallets.services.payouts import resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.tests.clocks import StandingClock
from wallets.tests.fakes import BARE, LOOKS_UP_ONLY, Does

MINUTE, HOUR = 60, 3600


class WorkedExampleTestCase(WalletTestCase):
    """The ledger is compared with the table in the docstring of the test."""

    maxDiff = None

    def setUp(self) -> None:
        super().setUp()
        self.time = StandingClock()
        self.time.start()
        self.addCleanup(self.time.stop)

    def at(self, hours: float) -> float:
        return hours * HOUR

    def schedule(self, amount: int, hours: float) -> Transaction:
        return WithdrawalService.schedule(
            self.alice.uuid, amount, self.after(self.at(hours)), now=self.now
        )

    def execute(self, row: Transaction, hours: float, does: Does = Does.PAY) -> None:
        self.bank.script.append(does)
        self.time.stand_at(self.at(hours))
        WithdrawalService.execute(
            row.pk, bank=self.bank, now=self.after(self.at(hours))
        )

    def resolve(self, hours: float) -> None:
        self.time.stand_at(self.at(hours))
        resolver.resolve_due(bank=self.bank, limit=10, now=self.after(self.at(hours)))

    def assert_table(self, test) -> None:
        """Check that the ledger has the movements of the table in the docstring."""
        lines = [line.split() for line in test.__doc__.splitlines() if "|" in line]
        table = [[cell for cell in line if cell != "|"] for line in lines]
        self.assertEqual(self.table(), table[1:])

    def table(self) -> list[list[str]]:
        rows = []
        sums = dict.fromkeys(Account, 0)
        for movement in Movement.objects.order_by("pk"):
            for account in Account:
                sums[account] += postings.effect(
                    account, movement.kind, movement.amount
                )
            self.assertEqual(sum(sums.values()), 0)
            if movement.wallet_id == self.alice.pk:
                self.assertEqual(movement.balance_after, sums[Account.WALLET])
            accounts = (Account.WALLET, Account.IN_FLIGHT, Account.OUTSIDE)
            numbers = [str(sums[account]) for account in accounts]
            rows.append([movement.kind, str(movement.amount), *numbers])
        return rows


class DayInTheLifeTest(WorkedExampleTestCase):
    def test_of_alice(self):
        """Wages, rent at noon, a bill that fails and is paid on a retry, a cancelled one.

        | kind    | amount | wallet | in_flight | outside |
        | deposit | 3000   | 3000   | 0         | -3000   |
        | hold    | 1200   | 1800   | 1200      | -3000   |
        | settle  | 1200   | 1800   | 0         | -1800   |
        | hold    | 400    | 1400   | 400       | -1800   |
        | release | 400    | 1800   | 0         | -1800   |
        | deposit | 50     | 1850   | 0         | -1850   |
        | hold    | 400    | 1450   | 400       | -1850   |
        | settle  | 400    | 1450   | 0         | -1450   |
        """
        self.deposit(3000)
        rent = self.schedule(1200, hours=12)
        bill = self.schedule(400, hours=13)
        gift = self.schedule(100, hours=20)
        dream = self.schedule(99_999, hours=21)

        self.execute(rent, hours=12)
        self.execute(bill, hours=13, does=Does.REFUSE)
        self.deposit(50)
        self.execute(bill, hours=14)
        WithdrawalService.cancel(gift.pk)
        self.execute(dream, hours=21)

        self.assert_table(self.test_of_alice)
        self.assert_money(self.alice, balance=1450)
        rows = Transaction.objects.filter(transaction_type="WITHDRAWAL").order_by("pk")
        self.assertEqual(
            list(rows.values_list("status", "retry_count", "failure_code")),
            [
                ("COMPLETED", 0, ""),
                ("COMPLETED", 1, ""),
                ("CANCELLED", 0, ""),
                ("FAILED", 0, "insufficient_balance"),
            ],
        )
        self.assertEqual([p.amount for p in self.bank.paid], [1200, 400])


class LostAnswerTest(WorkedExampleTestCase):
    def test_is_found_out_by_a_look_up(self):
        """The bank pays and its answer is lost: held until a look-up says "paid".

        | kind    | amount | wallet | in_flight | outside |
        | deposit | 1000   | 1000   | 0         | -1000   |
        | hold    | 400    | 600    | 400       | -1000   |
        | settle  | 400    | 600    | 0         | -600    |
        """
        self.bank._abilities = LOOKS_UP_ONLY
        self.deposit(1000)
        row = self.schedule(400, hours=1)
        self.execute(row, hours=1, does=Does.PAY_SILENTLY)
        self.assert_money(self.alice, balance=600, held=400)
        self.resolve(hours=1.1)
        self.assert_table(self.test_is_found_out_by_a_look_up)
        row.refresh_from_db()
        self.assertEqual((row.status, row.retry_count), ("COMPLETED", 0))

    def test_of_a_request_that_never_arrived_is_released_and_paid_again(self):
        """Not found, twice, after the quiet period: then, and only then, released.

        | kind    | amount | wallet | in_flight | outside |
        | deposit | 1000   | 1000   | 0         | -1000   |
        | hold    | 400    | 600    | 400       | -1000   |
        | release | 400    | 1000   | 0         | -1000   |
        | hold    | 400    | 600    | 400       | -1000   |
        | settle  | 400    | 600    | 0         | -600    |
        """
        self.bank._abilities = LOOKS_UP_ONLY
        self.deposit(1000)
        row = self.schedule(400, hours=1)
        self.execute(row, hours=1, does=Does.LOSE)
        for hours in (1.1, 1.2):
            self.resolve(hours)
        self.execute(row, hours=3)
        self.assert_table(
            self.test_of_a_request_that_never_arrived_is_released_and_paid_again
        )
        self.assertEqual(len(self.bank.paid), 1)

    def test_of_a_bank_that_cannot_say_waits_for_oscar(self):
        """The specification's bank: no look-up, no dedupe. Oscar reads the statement.

        | kind    | amount | wallet | in_flight | outside |
        | deposit | 1000   | 1000   | 0         | -1000   |
        | hold    | 400    | 600    | 400       | -1000   |
        | hold    | 100    | 500    | 500       | -1000   |
        | settle  | 400    | 500    | 100       | -600    |
        | release | 100    | 600    | 0         | -600    |
        """
        self.bank._abilities = BARE
        self.deposit(1000)
        paid = self.schedule(400, hours=1)
        lost = self.schedule(100, hours=2)
        self.execute(paid, hours=1, does=Does.PAY_SILENTLY)
        self.execute(lost, hours=2, does=Does.LOSE)
        self.resolve(hours=3)
        self.assertEqual(list(review.waiting()), [paid, lost])
        review.resolve(paid.pk, paid=True, evidence="statement, line 3", actor=OSCAR)
        review.resolve(lost.pk, paid=False, evidence="not on it", actor=OSCAR)
        self.assert_table(self.test_of_a_bank_that_cannot_say_waits_for_oscar)
        self.assertEqual([p.amount for p in self.bank.paid], [400])
