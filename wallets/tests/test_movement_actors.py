"""Who made each movement of a wallet, as the console shows it."""

from __future__ import annotations

from unittest import skipIf

from django.db import connection
from django.test.utils import CaptureQueriesContext

from wallets.models.ledger import LEGS_OF_EVENTS, Movement
from wallets.models.states import TRANSITIONS
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.corrections.correction import correct
from wallets.services.operations import record, review
from wallets.services.operations.payment_return import record_return
from wallets.services.payouts import resolver
from wallets.services.reads import actors
from wallets.services.transfers.transfer import transfer
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.base import (
    OSCAR,
    CommittingTestCase,
    CommonCase,
    WalletTestCase,
)
from wallets.tests.fakes import BARE, Does, FakeBank
from wallets.tests.raw import execute
from wallets.tests.test_movement_kinds import SAID
from wallets.tests.test_read_plans import Plans
from wallets.utils.caller import Caller

WHY = {"reason": "a mistake", "actor": OSCAR}
SHOP = Caller("shop")


class ActorPlans(Plans):
    """Records the statements that read changes of withdrawals."""

    pattern = r"SELECT .* FROM .wallets_transition\b"


class Shop(CommonCase):
    """A shop pays from Alice's wallet."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    def schedule(self, amount: int, *does: Does):
        """Return a withdrawal that the shop has scheduled, executed once."""
        withdrawal = WithdrawalService.schedule(
            *(self.alice.uuid, amount, self.now), caller=SHOP, now=self.after(-60)
        )
        self.bank.script.extend(does)
        return WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)

    def rows(self, wallet: Wallet | None = None) -> list[Movement]:
        of = Movement.objects.filter(wallet=wallet or self.alice)
        return list(of.select_related("transaction").order_by("sequence"))


class MovementActorsTest(Shop, WalletTestCase):
    """A movement…"""

    def assert_made(self, *expected: str, wallet: Wallet | None = None) -> None:
        """Compare kind and actor of the movements after the first deposit."""
        rows = actors.of_movements(self.rows(wallet))
        made = [f"{row.kind} {row.actor}" for row in rows]
        self.assertEqual(made, ["deposit client", *expected][wallet is not None :])

    def test_of_an_attempt_is_the_workers(self) -> None:
        self.schedule(10)
        refused = self.schedule(20, Does.REFUSE)
        self.assertEqual(refused.actor, "shop")
        WithdrawalService.retry_now(refused.pk, actor=OSCAR)
        WithdrawalService.execute(refused.pk, bank=self.bank)
        self.assert_made(
            *("hold worker", "settle worker"),
            *("hold worker", "release worker"),
            *("hold worker", "settle worker"),
        )

    def test_that_a_person_has_concluded_is_the_persons(self) -> None:
        for paid in (True, False):
            withdrawal = self.schedule(10, Does.LOSE)
            resolver.resolve_due(bank=FakeBank(BARE), limit=10, now=self.after(60))
            review.resolve(withdrawal.pk, paid=paid, evidence="by phone", actor=OSCAR)
        self.assert_made(
            *("hold worker", f"settle {OSCAR}"),
            *("hold worker", f"release {OSCAR}"),
        )

    def test_of_a_recorded_payment_is_the_persons(self) -> None:
        withdrawal = self.due_withdrawal(10)
        record.record_paid(withdrawal.pk, evidence="statement 4", actor=OSCAR)
        self.assert_made(f"hold {OSCAR}", f"settle {OSCAR}")

    def test_without_an_attempt_is_made_by_who_asked_for_it(self) -> None:
        moved = transfer(self.alice.uuid, self.bob.uuid, 100, caller=SHOP)
        correct(moved.debit.pk, 40, **WHY)
        paid = self.schedule(10)
        record_return(paid.pk, 10, return_reference="R 1", **WHY)
        self.assert_made(
            *("transfer_out shop", f"correction_in {OSCAR}"),
            *("hold worker", "settle worker", f"return {OSCAR}"),
        )
        self.assert_made("transfer_in shop", f"correction_out {OSCAR}", wallet=self.bob)

    def test_is_nobodys_where_the_history_is_damaged(self) -> None:
        self.books_must_be_right = False
        self.schedule(10)
        rows = self.rows()
        rows[1].attempt_number = 7
        made = [row.actor for row in actors.of_movements(rows)]
        self.assertEqual(made, ["client", "", "worker"])

    def test_costs_one_query_for_a_page(self) -> None:
        for _ in range(3):
            self.schedule(10)
        rows = self.rows()
        with CaptureQueriesContext(connection) as queries:
            actors.of_movements(rows)
        self.assertEqual(len(queries), 1)
        with CaptureQueriesContext(connection) as queries:
            actors.of_movements(rows[:1])
        self.assertEqual(len(queries), 0)

    def test_has_the_leg_that_belongs_to_its_event(self) -> None:
        legs = {kind: leg for kind, leg, *_ in SAID}
        for (_, event), rule in TRANSITIONS.items():
            expected = tuple(legs[kind] for kind in rule.movements)
            with self.subTest(event=event):
                self.assertEqual(LEGS_OF_EVENTS.get(event.value, ()), expected)


@marks.slow
@skipIf(connection.vendor == "sqlite", "it counts nothing")
class ActorPlansTest(Shop, CommittingTestCase):
    """Another withdrawal has thousands of changes. Who made a movement…"""

    books_must_be_right = False

    def test_is_found_by_an_index(self) -> None:
        paid, other = self.schedule(10), self.schedule(20)
        one = other.transitions.get(event="accepted")
        columns = {"transaction": other, "event": "accepted", "from_state": "unknown"}
        columns |= {"to_state": "unknown", "actor": "worker 1", "attempt_number": 1}
        columns |= {"created_at": one.created_at}
        Transition.objects.bulk_create(
            Transition(sequence=n, **columns) for n in range(10, 4000)
        )
        word = "TABLE" if connection.vendor == "mysql" else ""
        execute(f"ANALYZE {word} wallets_transition")
        plans = ActorPlans()
        with connection.execute_wrapper(plans):
            actors.of_movements(
                row for row in self.rows() if row.transaction_id == paid.pk
            )
        ((sql, plan),) = plans
        self.assertLess(plan.most_read, 10, f"{sql}\n{plan.text}")
