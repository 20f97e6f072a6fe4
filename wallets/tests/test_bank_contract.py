"""One contract for every bank: the tests' fake, and our client with the simulator.

The services rely on this contract only. The fake satisfies it, too, so a test with the
fake is valid for the real client.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import uuid
from typing import Protocol
from unittest import mock

from django.db import transaction
from django.test import SimpleTestCase

from drills.process import wait_until
from wallets.errors import InsideTransaction
from wallets.services.payouts import resolver, sweeps
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import fakes, marks
from wallets.tests.base import CommittingTestCase
from wallets.tests.clocks import StandingClock
from wallets.tests.fakes import Does, FakeBank
from wallets.tests.simulator import APP, Simulator
from wallets.utils import clock
from wallets.utils.bank.connections import Connection
from wallets.utils.bank.interface import Abilities, Answer, Bank, Outcome, Payment
from wallets.utils.third_party import HttpBank

NEVER = float("inf")
# A busy machine may pause for seconds: no call with an immediate answer is ended.
PATIENCE = 30
# For calls without an answer; their clock stands until the bank has the request.
DEADLINE = 0.5
WALLET = uuid.UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")


def a_payment(amount: int = 400) -> Payment:
    return Payment(uuid.uuid4(), WALLET, amount)


class Control(Protocol):
    """Controls a bank, and reads its real payments."""

    def next(self, does: Does) -> None:
        """Set the bank's reaction to the next request."""

    def paid(self) -> list[uuid.UUID]: ...

    def book(self) -> None:
        """Book the late payments now."""


class FakeControl:
    def __init__(self, bank: FakeBank) -> None:
        self._bank = bank

    def next(self, does: Does) -> None:
        self._bank.script.append(does)

    def paid(self) -> list[uuid.UUID]:
        return self._bank.paid_references()

    def book(self) -> None:
        self._bank.book()


class SimulatorControl:
    MODES = {
        Does.REFUSE: "refuse",
        Does.PAY_SILENTLY: "accept_reset",
        Does.LOSE: "reset",
        Does.BOOK_LATE: "late_booking",
    }

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        simulator.change(mode="normal", bare=False, lookup_mode="normal")
        # Nothing is booked before the test calls `book`.
        simulator.change(failure_rate=0, latency=0, booking_delay=600)
        self._before = len(simulator.payments())

    def next(self, does: Does) -> None:
        self._simulator.change(mode=self.MODES[does], times=1)

    def paid(self) -> list[uuid.UUID]:
        lines = self._simulator.payments()[self._before :]
        return [uuid.UUID(line["reference"]) for line in lines]

    def book(self) -> None:
        self._simulator.book()


class Contract:
    """A mixin for a test case with `able` and `bare` banks and a control for each."""

    able: Bank
    bare: Bank
    control: Control

    def pay(self, payment: Payment, bank: Bank | None = None) -> Outcome:
        return (bank or self.able).pay(payment, send_before=NEVER).outcome

    def look_up(self, payment: Payment, bank: Bank | None = None) -> Outcome:
        return (bank or self.able).look_up(payment).outcome

    def test_pays_and_says_so(self):
        payment = a_payment()
        answer = self.able.pay(payment, send_before=NEVER)
        self.assertEqual((answer.outcome, answer.http_status), (Outcome.ACCEPTED, 200))
        self.assertIn("success", answer.reason)
        self.assertEqual(self.control.paid(), [payment.reference])

    def test_refuses_and_says_so(self):
        self.control.next(Does.REFUSE)
        payment = a_payment()
        self.assertEqual(self.pay(payment), Outcome.REJECTED)
        self.assertEqual(self.look_up(payment), Outcome.REJECTED)
        self.assertEqual(self.control.paid(), [])

    def test_pays_one_reference_once_and_gives_the_same_answer_again(self):
        payment = a_payment()
        self.assertEqual([self.pay(payment) for _ in range(3)], [Outcome.ACCEPTED] * 3)
        self.assertEqual(self.control.paid(), [payment.reference])

    def test_remembers_a_refusal(self):
        self.control.next(Does.REFUSE)
        payment = a_payment()
        self.assertEqual([self.pay(payment) for _ in range(2)], [Outcome.REJECTED] * 2)
        self.assertEqual(self.control.paid(), [])

    def test_leaves_unknown_what_it_did_not_answer(self):
        for does in (Does.PAY_SILENTLY, Does.LOSE):
            self.control.next(does)
            with self.subTest(does):
                self.assertEqual(self.pay(a_payment()), Outcome.UNKNOWN)
        self.assertEqual(len(self.control.paid()), 1)

    def test_knows_a_payment_whose_answer_was_lost(self):
        self.control.next(Does.PAY_SILENTLY)
        payment = a_payment()
        self.pay(payment)
        self.assertEqual(self.look_up(payment), Outcome.ACCEPTED)
        self.assertEqual(self.pay(payment), Outcome.ACCEPTED)
        self.assertEqual(self.control.paid(), [payment.reference])

    def test_does_not_know_what_never_arrived(self):
        self.control.next(Does.LOSE)
        payment = a_payment()
        self.pay(payment)
        self.assertEqual(self.look_up(payment), Outcome.NOT_FOUND)
        self.assertEqual(self.look_up(a_payment()), Outcome.NOT_FOUND)
        self.assertEqual(self.control.paid(), [])

    def test_does_not_know_at_once_what_it_books_late(self):
        self.control.next(Does.BOOK_LATE)
        payment = a_payment()
        self.assertEqual(self.pay(payment), Outcome.UNKNOWN)
        self.assertEqual(self.look_up(payment), Outcome.NOT_FOUND)
        self.control.book()
        self.assertEqual(self.look_up(payment), Outcome.ACCEPTED)
        self.assertEqual(self.control.paid(), [payment.reference])

    def test_sends_nothing_too_late(self):
        answer = self.able.pay(a_payment(), send_before=clock.elapsed())
        self.assertEqual(answer.outcome, Outcome.NOT_SENT)
        self.assertEqual(self.control.paid(), [])

    def test_without_abilities_cannot_be_asked(self):
        payment = a_payment()
        self.assertEqual(self.pay(payment, self.bare), Outcome.ACCEPTED)
        self.assertEqual(self.look_up(payment, self.bare), Outcome.UNKNOWN)

    def test_without_abilities_pays_one_reference_twice(self):
        payment = a_payment()
        for _ in range(2):
            self.assertEqual(self.pay(payment, self.bare), Outcome.ACCEPTED)
        self.assertEqual(self.bare_control.paid(), [payment.reference] * 2)

    def test_pays_many_at_once(self):
        payments = [a_payment(n) for n in range(1, 17)]
        answers: dict[uuid.UUID, Answer] = {}

        def call(payment: Payment) -> None:
            answers[payment.reference] = self.able.pay(payment, send_before=NEVER)

        threads = [threading.Thread(target=call, args=[p]) for p in payments * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(
            {answer.outcome for answer in answers.values()}, {Outcome.ACCEPTED}
        )
        self.assertCountEqual(self.control.paid(), [p.reference for p in payments])

    def test_lists_what_it_paid(self):
        payments = [a_payment(n) for n in (5, 6)]
        for payment in payments:
            self.pay(payment)
        self.control.next(Does.REFUSE)
        self.pay(a_payment())
        lines = self.able.statement()[-2:]
        self.assertEqual(
            [(line.reference, line.wallet_uuid, line.amount) for line in lines],
            [(one.reference, one.wallet_uuid, one.amount) for one in payments],
        )

    def test_refuses_to_be_called_inside_a_transaction(self):
        for call in (
            lambda: self.pay(a_payment()),
            lambda: self.look_up(a_payment()),
            lambda: self.able.statement(),
        ):
            with self.assertRaises(InsideTransaction), transaction.atomic():
                call()
        self.assertEqual(self.control.paid(), [])


class FakeBankTest(Contract, SimpleTestCase):
    databases = {"default"}

    def setUp(self) -> None:
        self.able, self.bare = FakeBank(fakes.ABLE), FakeBank(fakes.BARE)
        self.control, self.bare_control = FakeControl(self.able), FakeControl(self.bare)


class SimulatorTestCase:
    """One simulator for a class; each test begins without faults."""

    simulator: Simulator

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()  # type: ignore[misc]
        cls.simulator = Simulator()
        cls.addClassCleanup(cls.simulator.stop)  # type: ignore[attr-defined]

    def bank_with(self, abilities: Abilities, deadline: float = PATIENCE) -> HttpBank:
        return HttpBank(
            self.simulator.url,
            abilities=abilities,
            deadline=deadline,
            connect_timeout=PATIENCE,
            connections=8,
        )


class BareSimulator:
    """A client that switches the simulator to bare mode for each call."""

    def __init__(self, simulator: Simulator, bank: Bank) -> None:
        self._simulator, self._bank = simulator, bank

    @property
    def abilities(self) -> Abilities:
        return self._bank.abilities

    def pay(self, payment: Payment, *, send_before: float) -> Answer:
        self._simulator.change(bare=True)
        return self._bank.pay(payment, send_before=send_before)

    def look_up(self, payment: Payment) -> Answer:
        self._simulator.change(bare=True)
        return self._bank.look_up(payment)


class HttpBankTest(SimulatorTestCase, Contract, SimpleTestCase):
    databases = {"default"}

    def setUp(self) -> None:
        super().setUp()
        self.control = self.bare_control = SimulatorControl(self.simulator)
        self.able = self.bank_with(fakes.ABLE)
        self.bare = BareSimulator(self.simulator, self.bank_with(fakes.BARE))


@marks.slow
class SimulatorModeTest(SimulatorTestCase, SimpleTestCase):
    """The client's outcome for every fault of the simulator."""

    SILENT = ("accept_hang", "drip", "drip_headers")
    PAID_UNKNOWN = (
        *SILENT,
        "accept_reset",
        "accept_close",
        "accept_500",
        "accept_502",
        "accept_503",
        "accept_504",
        "late_booking",
        "garbage",
        "empty",
        "null",
        "list",
        "other_object",
        "wrong_type",
        "truncated",
        "huge",
        "duplicate_keys",
        "wrong_reference",
        "wrong_amount",
    )
    LOST_UNKNOWN = (
        "reset",
        "error",
        *(f"html_{status}" for status in (403, 404, 407, 413, 429)),
        "redirect",
        *(f"redirect_{status}" for status in (301, 303, 307, 308)),
    )
    ANSWERED = {
        "normal": Outcome.ACCEPTED,
        "no_echo": Outcome.ACCEPTED,
        "pay_twice": Outcome.ACCEPTED,
        "refuse": Outcome.REJECTED,
    }

    LOOK_UP_UNKNOWN = (
        "error",
        "reset",
        "garbage",
        "html_200",
        "refuses_503",
        "refuses_200",
        "another_payment",
        "busy_429",
        "no_echo",
    )
    LOOK_UP_ANSWERED = {
        "normal": Outcome.ACCEPTED,
        "not_found": Outcome.NOT_FOUND,
        "stale": Outcome.NOT_FOUND,
    }

    def setUp(self) -> None:
        super().setUp()
        self.control = SimulatorControl(self.simulator)

    def outcome(self, mode: str) -> Outcome:
        self.simulator.change(mode=mode, times=1)
        return self.bank_with(fakes.ABLE).pay(a_payment(), send_before=NEVER).outcome

    def outcome_of_silence(self, mode: str) -> Outcome:
        """Return the outcome when the bank pays and never answers.

        The clock stands until the bank has paid.
        """
        self.simulator.change(mode=mode, times=1)
        payment = a_payment()
        with StandingClock() as time_stands:
            bank = self.bank_with(fakes.ABLE, DEADLINE)
            call = bank.pay_later(payment, send_before=NEVER)
            paid = lambda: payment.reference in self.control.paid()  # noqa: E731
            wait_until(paid, seconds=PATIENCE, what="the bank to pay")
            time_stands.run()
            return call.result(PATIENCE).outcome

    @marks.slow
    def test_is_unknown_when_it_paid_and_the_answer_is_no_proof(self):
        for mode in self.PAID_UNKNOWN:
            silent = mode in self.SILENT
            outcome = self.outcome_of_silence if silent else self.outcome
            with self.subTest(mode):
                self.assertEqual(outcome(mode), Outcome.UNKNOWN)
        self.control.book()
        self.assertEqual(len(self.control.paid()), len(self.PAID_UNKNOWN))

    def test_is_unknown_when_another_server_answered(self):
        for mode in self.LOST_UNKNOWN:
            with self.subTest(mode):
                self.assertEqual(self.outcome(mode), Outcome.UNKNOWN)
        self.assertEqual(self.control.paid(), [])

    def test_is_known_when_it_answered(self):
        for mode, expected in self.ANSWERED.items():
            with self.subTest(mode):
                self.assertEqual(self.outcome(mode), expected)

    def test_is_covered_for_every_mode_of_the_simulator(self):
        spec = importlib.util.spec_from_file_location(
            "simulator_faults", APP.parent / "faults.py"
        )
        faults = importlib.util.module_from_spec(spec)
        # Dataclasses need their module in `sys.modules`; it imports other modules.
        with (
            mock.patch.dict(sys.modules, {spec.name: faults}),
            mock.patch.object(sys, "path", [str(APP.parent), *sys.path]),
        ):
            spec.loader.exec_module(faults)
        known = {*self.PAID_UNKNOWN, *self.LOST_UNKNOWN, *self.ANSWERED}
        self.assertEqual(set(faults.MODES), known, "add the mode to a list above")
        known = {*self.LOOK_UP_UNKNOWN, "hang", *self.LOOK_UP_ANSWERED}
        self.assertEqual(set(faults.LOOKUP_MODES), known, "add it to a list above")

    def test_of_a_look_up_is_unknown(self):
        """A failed look-up proves nothing about a paid or a refused payment."""
        bank = self.bank_with(fakes.ABLE)
        for does in (None, Does.REFUSE):
            if does:
                self.control.next(does)
            payment = a_payment()
            bank.pay(payment, send_before=NEVER)
            for mode in self.LOOK_UP_UNKNOWN:
                self.simulator.change(lookup_mode=mode)
                with self.subTest(mode, refused=bool(does)):
                    self.assertEqual(bank.look_up(payment).outcome, Outcome.UNKNOWN)
            self.simulator.change(lookup_mode="normal")

    def test_of_a_look_up_is_known_when_it_answered(self):
        bank = self.bank_with(fakes.ABLE)
        payment = a_payment()
        bank.pay(payment, send_before=NEVER)
        for mode, expected in self.LOOK_UP_ANSWERED.items():
            self.simulator.change(lookup_mode=mode)
            with self.subTest(mode):
                self.assertEqual(bank.look_up(payment).outcome, expected)

    def test_of_a_look_up_that_hangs_is_unknown(self):
        self.simulator.change(lookup_mode="hang")
        with StandingClock() as time_stands:

            class Timed(Connection):
                """Starts the clock when the request is sent."""

                def send(self, message: bytes) -> None:
                    super().send(message)
                    time_stands.run()

            with mock.patch.object(HttpBank, "connection_class", Timed):
                bank = self.bank_with(fakes.ABLE, DEADLINE)
            outcome = bank.look_up(a_payment()).outcome
        self.assertEqual(outcome, Outcome.UNKNOWN)


class WholeWayTest(SimulatorTestCase, CommittingTestCase):
    """The services, the real client and the simulator together: paid exactly once."""

    def setUp(self) -> None:
        super().setUp()
        self.control = SimulatorControl(self.simulator)
        self.deposit(1000)

    def test_pays_what_is_due(self):
        rows = [self.due_withdrawal(100) for _ in range(5)]
        claimed = sweeps.pay_pending(bank=self.bank_with(fakes.ABLE), seconds=PATIENCE)
        self.assertEqual(claimed, 5)
        for row in rows:
            row.refresh_from_db()
            self.assertEqual(row.status, "COMPLETED")
        self.assertEqual(len(set(self.control.paid())), 5)
        self.assert_money(self.alice, balance=500)

    def test_finds_out_a_lost_answer(self):
        for abilities in (fakes.LOOKS_UP_ONLY, fakes.DEDUPES_ONLY):
            bank = self.bank_with(abilities)
            row = self.due_withdrawal(100)
            self.control.next(Does.PAY_SILENTLY)
            done = WithdrawalService.execute(row.pk, bank=bank, now=self.now)
            self.assertEqual(done.status, "PROCESSING")
            resolver.resolve_due(bank=bank, limit=9, now=self.after(60))
            row.refresh_from_db()
            with self.subTest(abilities):
                self.assertEqual(row.status, "COMPLETED")
        self.assertEqual(len(set(self.control.paid())), 2)
        self.assertEqual(len(self.control.paid()), 2)

    @marks.slow
    def test_pays_once_while_its_look_up_refuses(self):
        """The answer is lost, and each look-up fails with the body of a refusal."""
        bank = self.bank_with(fakes.LOOKS_UP_ONLY)
        row = self.due_withdrawal(400)
        self.control.next(Does.PAY_SILENTLY)
        self.simulator.change(dedupes=False)
        self.addCleanup(self.simulator.change, dedupes=True)
        WithdrawalService.execute(row.pk, bank=bank, now=self.now)
        modes = ("refuses_503", "refuses_200", "another_payment", "busy_429", "no_echo")
        for minute, mode in enumerate(modes, start=1):
            self.simulator.change(lookup_mode=mode)
            resolver.resolve_due(bank=bank, limit=9, now=self.after(60 * minute))
            row.refresh_from_db()
            with self.subTest(mode):
                self.assertEqual(row.status, "PROCESSING")
                self.assert_money(self.alice, balance=600, held=400)
        self.simulator.change(lookup_mode="normal")
        resolver.resolve_due(bank=bank, limit=9, now=self.after(3000))
        row.refresh_from_db()
        self.assertEqual((row.status, row.retry_count), ("COMPLETED", 0))
        self.assertEqual(len(self.control.paid()), 1)
        self.assert_money(self.alice, balance=600)

    def test_leaves_to_an_operator_what_a_bare_bank_cannot_say(self):
        self.simulator.change(bare=True)
        bank = self.bank_with(fakes.BARE)
        row = self.due_withdrawal(100)
        self.control.next(Does.PAY_SILENTLY)
        WithdrawalService.execute(row.pk, bank=bank, now=self.now)
        for minutes in range(1, 200, 20):
            resolver.resolve_due(bank=bank, limit=9, now=self.after(60 * minutes))
        row.refresh_from_db()
        self.assertEqual((row.status, row.needs_review), ("PROCESSING", True))
        self.assertEqual(len(self.control.paid()), 1)
        self.assert_money(self.alice, balance=900, held=100)
