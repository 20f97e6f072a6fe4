"""PostgreSQL's plans of the statements that do many requests at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from unittest import mock, skipUnless

from django.db import connection

from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.ledger import ledger_postgresql, transfers_postgresql
from wallets.services.transfers.transfer import TransferRequest, transfer_many
from wallets.services.withdrawals import schedule_postgresql
from wallets.services.withdrawals.schedule import ScheduleRequest, schedule_many
from wallets.tests.base import WalletTestCase
from wallets.tests.plans import generic_plan


@skipUnless(connection.vendor == "postgresql", "statements of PostgreSQL's")
class BatchPlanTest(WalletTestCase):
    """A connection makes one plan for any number of requests. It…"""

    def setUp(self) -> None:
        super().setUp()
        self.make_wallets(2000)

    def make_wallets(self, count: int) -> None:
        Wallet.objects.bulk_create([Wallet() for _ in range(count)])
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE wallets_wallet")

    def deposit(self) -> None:
        deposit_many([DepositRequest(self.alice.uuid, 1, uuid.uuid4())], wait=False)

    def schedule(self) -> None:
        when = self.now + timedelta(hours=1)
        request = ScheduleRequest(self.alice.uuid, 1, when, uuid.uuid4())
        schedule_many([request], wait=False)

    def transfer(self) -> None:
        ends = self.alice.uuid, self.bob.uuid
        transfer_many([TransferRequest(*ends, 1, uuid.uuid4())] * 2)

    def plans(self) -> dict[str, str]:
        works: dict[ModuleType, Callable[[], None]] = {
            ledger_postgresql: self.deposit,
            schedule_postgresql: self.schedule,
            transfers_postgresql: self.transfer,
        }
        return {
            work.__name__: self.plan(module, work) for module, work in works.items()
        }

    def plan(self, module: ModuleType, work: Callable[[], None]) -> str:
        with mock.patch.object(module, "execute_prepared", return_value=[]) as execute:
            work()
        text, values = execute.call_args_list[0][0]
        return generic_plan(text, values)

    def test_reads_no_wallet_but_those_it_is_about(self) -> None:
        of_deposits = self.plan(ledger_postgresql, self.deposit)
        self.assertIn("wallets_wallet_uuid_key", of_deposits)
        self.assertNotIn("Seq Scan", of_deposits)
        of_withdrawals = self.plan(schedule_postgresql, self.schedule)
        # A transfer is about two wallets, so a small table is read as a whole.
        self.make_wallets(3000)
        of_transfers = self.plan(transfers_postgresql, self.transfer)
        for plan in (of_withdrawals, of_transfers):
            self.assertIn("wallets_wallet_uuid_key", plan)
            self.assertNotIn("Seq Scan on wallets_wallet", plan)

    def test_compares_no_request_with_each_of_the_others(self) -> None:
        """A nested loop with a filter would: a thousand requests, a million pairs."""
        # A loop over the clock is over its one row.
        of_pairs = r"Nested Loop.*\n +Join Filter.*\n(?!.* on clock)"
        for name, plan in self.plans().items():
            with self.subTest(name):
                self.assertNotRegex(plan, of_pairs)
