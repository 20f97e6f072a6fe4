"""Two callers of one wallet use one idempotency key at the same moment.

A caller who is limited to the wallet's tenant and one who is not have keys of their own.
The bank's references are derived from the wallet and the key, so of two withdrawals with
one key only one may be scheduled.
"""

from __future__ import annotations

import uuid
from functools import partial
from itertools import product
from typing import Any
from unittest import mock, skipIf

from django.db import connection, transaction

from wallets.errors import IdempotencyKeyReused, InvalidInput
from wallets.models.transaction import Transaction
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.operations import record
from wallets.services.requests.busy import Busy
from wallets.services.wallet import WalletService
from wallets.services.withdrawals import schedule
from wallets.services.withdrawals.reference import references_of_key
from wallets.services.withdrawals.schedule import ScheduleReceipt, ScheduleRequest
from wallets.services.withdrawals.schedule_batch import Asked, schedule_in_steps
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase
from wallets.tests.races import FEW, elsewhere, race, rounds
from wallets.tests.tenants import A
from wallets.utils.caller import ANYBODY, Caller

LIMITED = Caller("key a", A)
CALLERS = {"limited": LIMITED, "unlimited": ANYBODY}
SQLITE = connection.vendor == "sqlite"
ONE_WRITER = "SQLite has one writer at a time, so nobody else begins meanwhile"


class Case(CommittingTestCase):
    """`shared` is a wallet of a tenant, with money."""

    def setUp(self) -> None:
        super().setUp()
        self.shared = WalletService.create(tenant=A)
        self.deposit(1000, self.shared)
        self.key = uuid.uuid4()
        self.when = self.after(600)

    def ask(self, caller: Caller, *, wait: bool = False) -> Any:
        """Return the answer to a caller's request of a withdrawal with the key."""
        asked = [ScheduleRequest(self.shared.uuid, 5, self.when, self.key)]
        return schedule.schedule_many(asked, caller=caller, wait=wait)[0]

    def ask_in_steps(self, caller: Caller) -> Any:
        """Ask without the fast path. Call inside a transaction."""
        asked = Asked(self.shared.uuid, 5, self.when, self.key, True)
        return schedule_in_steps([asked], caller=caller, now=self.now)[0]

    def withdrawals(self) -> int:
        rows = Transaction.objects.filter(wallet=self.shared)
        return rows.filter(transaction_type="WITHDRAWAL").count()


class TwoCallersTest(Case):
    """Of two callers of one wallet who use one key at the same moment…"""

    @skipIf(SQLITE, ONE_WRITER)
    def test_the_second_waits_for_the_first_and_is_refused(self) -> None:
        for first, second in (("limited", "unlimited"), ("unlimited", "limited")):
            for at_once in (True, False):
                self.key = uuid.uuid4()
                ask = self.ask if at_once else self.in_own_transaction
                with self.subTest(first, at_once=at_once):
                    with transaction.atomic():
                        made = self.ask_in_steps(CALLERS[first])
                        self.assertIsInstance(made, ScheduleReceipt)
                        waits = elsewhere(30, partial(ask, CALLERS[second]))
                    self.assertIsInstance(waits, Busy)
                    refused = elsewhere(30, partial(ask, CALLERS[second]))
                    self.assertIsInstance(refused, IdempotencyKeyReused)

    def in_own_transaction(self, caller: Caller) -> Any:
        asked = {0: Asked(self.shared.uuid, 5, self.when, self.key, True)}
        made = schedule._judge_unless_locked(asked, caller=caller, now=self.now)
        return Busy() if made is None else made[0]

    @marks.slow
    def test_one_is_scheduled_and_paid_whoever_is_first(self) -> None:
        def prepare(number: int) -> None:
            self.key = uuid.uuid4()

        def judge(_: None, results: list[Any]) -> None:
            kinds = sorted(type(one).__name__ for one in results)
            self.assertEqual(kinds, ["IdempotencyKeyReused", "ScheduleReceipt"])

        works = [
            lambda _, who=who: self.ask(who, wait=True) for who in CALLERS.values()
        ]
        rounds(FEW, prepare, works, judge)
        self.assertEqual(self.withdrawals(), FEW)

    def test_each_makes_a_deposit(self) -> None:
        """A deposit has no bank reference: the keys are those of two tenants."""
        asked = [DepositRequest(self.shared.uuid, 5, self.key)]
        made = race(
            *(partial(deposit_many, asked, caller=who) for who in CALLERS.values())
        )
        self.assertEqual([one[0].replayed for one in made], [False, False])


class RequestAfterAnotherTest(Case):
    """A withdrawal with the key of another caller of the wallet…"""

    def test_is_refused_also_if_the_other_made_a_deposit(self) -> None:
        deposit_many([DepositRequest(self.shared.uuid, 5, self.key)], caller=LIMITED)
        for wait in (True, False):
            self.assertIsInstance(self.ask(ANYBODY, wait=wait), IdempotencyKeyReused)

    def test_is_refused_after_a_record_of_an_operator_with_other_words(self) -> None:
        record.record_payment(
            self.shared.uuid, 7, evidence="the list", actor="oscar", key=self.key
        )
        for caller in CALLERS.values():
            self.assertIsInstance(self.ask(caller), IdempotencyKeyReused)


class RecordedWhileScheduledTest(Case):
    """A payment that an operator records while its withdrawal is scheduled…"""

    def record(self, **known: Any) -> Transaction:
        return record.record_payment(
            self.shared.uuid, 5, evidence="the bank's list", actor="oscar", **known
        )

    def references(self) -> list[uuid.UUID]:
        return references_of_key(self.key, self.shared.uuid)

    @skipIf(SQLITE, ONE_WRITER)
    def test_lets_the_client_wait_and_replays_it(self) -> None:
        """The operator has only the reference, so no idempotency key is in the way."""
        real, meanwhile = record.find_waiting, []

        def find_waiting(*args: Any) -> Any:
            found = real(*args)
            meanwhile.append(elsewhere(30, partial(self.ask, ANYBODY)))
            return found

        with mock.patch.object(record, "find_waiting", find_waiting):
            made = self.record(reference=self.references()[0])
        self.assertEqual([type(one) for one in meanwhile], [Busy])
        again = self.ask(ANYBODY)
        self.assertEqual((again.transaction.pk, again.replayed), (made.pk, True))

    @marks.slow
    def test_is_in_the_books_once(self) -> None:
        known = {"key": lambda: {"key": self.key}}
        known["reference"] = lambda: {"reference": self.references()[0]}
        for (name, proof), who in product(known.items(), CALLERS.values()):

            def prepare(number: int) -> None:
                self.key = uuid.uuid4()

            def judge(_: None, results: list[Any]) -> None:
                asked, recorded = results
                if isinstance(recorded, Transaction):
                    # Scheduled afterwards: a replay of the record, or refused.
                    if isinstance(asked, ScheduleReceipt):
                        self.assertEqual(asked.transaction.pk, recorded.pk)
                    else:
                        self.assertIsInstance(asked, IdempotencyKeyReused)
                else:
                    self.assertIsInstance(
                        recorded, (IdempotencyKeyReused, InvalidInput)
                    )
                    self.assertIsInstance(asked, ScheduleReceipt)

            works = [
                lambda _, who=who: self.ask(who, wait=True),
                lambda _, proof=proof: self.record(**proof()),
            ]
            with self.subTest(name, caller=who):
                rounds(FEW, prepare, works, judge)
