"""An operator pauses and resumes all payouts while the service runs."""

from __future__ import annotations

import threading
import time
from functools import partial
from unittest import mock

from django.core.management import CommandError
from django.db import OperationalError
from django.test import override_settings

from wallets.errors import InvalidInput
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.pause import Pause
from wallets.models.transaction import Transaction
from wallets.services.operations import alarm, pause, payout_health
from wallets.services.payouts import calls, claiming, dispatch, drain, payout, resolver
from wallets.services.payouts.payout import Claim
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.base import OSCAR, CommittingTestCase, WalletTestCase
from wallets.tests.fakes import ABLE, DEDUPES_ONLY, Does, FakeBank
from wallets.tests.races import FEW, PATIENCE, race, rounds
from wallets.tests.test_commands_review import CommandTestCase
from wallets.utils.bank.interface import Answer, Payment
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import broker

REASON = "the bank pays twice"


class PauseTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    def pause(self) -> Pause:
        return pause.pause(reason=REASON, actor=OSCAR)

    def drain(self) -> int:
        return drain.Drain(claiming.find_due, bank=self.bank, seconds=1).run()

    def test_stops_claims_until_payouts_are_resumed(self):
        withdrawal = self.due_withdrawal(100)
        self.pause()
        self.assertTrue(pause.is_paused())
        claim = payout.claim(
            claiming.find_due(self.now), bank=self.bank.abilities, limit=9, now=self.now
        )
        self.assertEqual((len(claim), claim.paused), (0, True))
        self.assertEqual(self.drain(), 0)
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        self.assertEqual(self.bank.requests, [])

        pause.resume(actor=OSCAR)
        self.assertFalse(pause.is_paused())
        self.assertEqual(self.drain(), 1)
        self.assertEqual(len(self.bank.paid), 1)

    def test_stops_repeated_sends_and_continues_look_ups(self):
        bank = FakeBank(DEDUPES_ONLY, (Does.LOSE,))
        withdrawal = self.due_withdrawal(100)
        WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.now)
        self.pause()
        resolver.resolve_due(bank=bank, limit=9, now=self.after(60))
        self.assertEqual(len(bank.requests), 1)
        pause.resume(actor=OSCAR)
        resolver.resolve_due(bank=bank, limit=9, now=self.after(3600))
        self.assertEqual(len(bank.requests), 2)

    def test_ends_a_drain_that_is_under_way(self):
        for _ in range(3):
            self.due_withdrawal(100)
        claims: list[Claim] = []
        real = payout.claim

        def claim(*args, **options) -> Claim:
            claims.append(real(*args, **options))
            if len(claims) == 1:
                self.pause()
            return claims[-1]

        with (
            mock.patch.object(payout, "claim", claim),
            override_settings(WITHDRAWAL_BATCH_SIZE=1),
        ):
            sweep = drain.Drain(claiming.find_due, bank=self.bank, seconds=PATIENCE)
            self.assertEqual(sweep.run(), 1)
        # The claimed withdrawal is sent and recorded.
        self.assertEqual([len(each) for each in claims], [1, 0])
        self.assertEqual(len(self.bank.paid), 1)
        status = Transaction.objects.filter(status="COMPLETED")
        self.assertEqual(status.filter(transaction_type="WITHDRAWAL").count(), 1)

    def test_wakes_workers_when_it_ends(self):
        """For what became due meanwhile, and for retries: no tick is waited for."""
        self.pause()
        for expected in ([dispatch.DRAIN_PENDING, dispatch.DRAIN_RETRYABLE], []):
            with (
                mock.patch.object(broker, "wake_up") as wake_up,
                self.captureOnCommitCallbacks(execute=True),
            ):
                pause.resume(actor=OSCAR)
            self.assertEqual([call.args[0] for call in wake_up.mock_calls], expected)

    def test_keeps_who_and_why(self):
        self.pause()
        pause.resume(actor="operator olga")
        row = Pause.objects.get()
        self.assertEqual((row.paused_by, row.reason), (OSCAR, REASON))
        self.assertEqual(row.resumed_by, "operator olga")
        self.assertGreaterEqual(row.resumed_at, row.paused_at)

    def test_has_an_open_alarm_while_it_lasts(self):
        for number in (1, 2):
            made = self.pause()
            raised = alarm.unacknowledged().get()
            self.assertEqual(raised.kind, Alarm.Kind.PAYOUTS_PAUSED)
            self.assertEqual(raised.subject, f"payouts, pause {made.pk}")
            self.assertEqual(raised.detail, f"{OSCAR}: {REASON}")
            pause.resume(actor=OSCAR)
            self.assertEqual(alarm.unacknowledged().count(), 0)
            self.assertEqual(Alarm.objects.count(), number)

    def test_twice_is_the_same_as_once(self):
        first = self.pause()
        again = pause.pause(reason="another", actor="operator olga")
        self.assertEqual(again, first)
        self.assertEqual(Pause.objects.count(), 1)
        self.assertIsNotNone(pause.resume(actor=OSCAR))
        self.assertIsNone(pause.resume(actor=OSCAR))

    def test_needs_a_name_and_a_reason(self):
        for field, words in (
            ("reason", {"reason": " ", "actor": OSCAR}),
            ("reason", {"reason": "x" * 501, "actor": OSCAR}),
            ("actor", {"reason": REASON, "actor": " "}),
        ):
            with self.subTest(field), self.assertRaises(InvalidInput) as got:
                pause.pause(**words)
            self.assertEqual(got.exception.field, field)
        with self.assertRaises(InvalidInput):
            pause.resume(actor="")
        self.assertFalse(pause.is_paused())

    @override_settings(WITHDRAWALS_PAUSED=True)
    def test_by_the_setting_is_not_overridden(self):
        self.pause()
        pause.resume(actor=OSCAR)
        self.assertTrue(pause.is_paused())
        self.assertEqual(pause.standing(), pause.Standing(True, None))
        self.due_withdrawal(100)
        self.assertEqual(self.drain(), 0)


class SlowBank(FakeBank):
    """Its calls take until the test lets them end."""

    def __init__(self) -> None:
        super().__init__(ABLE)
        self.asked = threading.Semaphore(0)
        self.ends = threading.Event()

    def pay(self, payment: Payment, *, send_before: float = float("inf")) -> Answer:
        self.asked.release()
        assert self.ends.wait(PATIENCE)
        return super().pay(payment, send_before=send_before)


@override_settings(WITHDRAWAL_CONCURRENCY=2, WITHDRAWAL_BATCH_SIZE=5)
class WithdrawnTest(CommittingTestCase):
    """What is claimed and waits for its turn while payouts are paused."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.rows = [self.due_withdrawal(10) for _ in range(5)]
        self.bank = SlowBank()
        patch = mock.patch.object(calls, "PAUSE_SECONDS", 0.05)
        patch.start()
        self.addCleanup(patch.stop)

    def pause_while_two_are_sent(self) -> None:
        """Two calls are under way, three wait; then the drain is let see the pause."""

        def stop() -> None:
            for _ in range(2):
                assert self.bank.asked.acquire(timeout=PATIENCE)
            pause.pause(reason=REASON, actor=OSCAR)
            self.await_recorded()
            self.bank.ends.set()

        def sweep() -> int:
            return drain.Drain(claiming.find_due, bank=self.bank, seconds=1).run()

        _, claimed = race(stop, sweep)
        self.assertEqual(claimed, 5)

    def await_recorded(self) -> None:
        """Until nothing waits for its turn, or the test has waited long enough."""
        ends = time.monotonic() + self.patience
        while time.monotonic() < ends and self.count("PROCESSING") > 2:
            time.sleep(0.02)

    patience = 5.0

    def count(self, status: str) -> int:
        return Transaction.objects.filter(status=status).count()

    def test_is_never_sent_and_paid_when_payouts_go_on(self):
        self.pause_while_two_are_sent()
        self.assertEqual(len(self.bank.paid), 2)
        self.assertEqual(self.count("FAILED"), 3)
        said = Attempt.objects.filter(outcome=Attempt.Outcome.NOT_SENT)
        self.assertEqual([each.answer for each in said], [pause.WITHDRAWN] * 3)
        self.assert_money(self.alice, balance=980)

        pause.resume(actor=OSCAR)
        Transaction.objects.filter(status="FAILED").update(next_attempt_at=self.now)
        drain.Drain(claiming.find_retryable, bank=self.bank, seconds=1).run()
        self.assertEqual(len(self.bank.paid), 5)
        self.assert_money(self.alice, balance=950)

    def test_is_no_sign_of_a_bank_that_does_not_answer(self):
        self.pause_while_two_are_sent()
        health = payout_health.look(database_now())
        self.assertEqual((health.answers, health.lost), (2, 0))

    def test_is_sent_when_the_database_cannot_say_whether_they_are_paused(self):
        looks = threading.Semaphore(0)

        def look(*args: object, **options: object) -> bool:
            looks.release()
            raise OperationalError("gone")

        def end() -> None:
            for _ in range(3):
                looks.acquire(timeout=5)
            self.bank.ends.set()

        def sweep() -> int:
            return drain.Drain(claiming.find_due, bank=self.bank, seconds=1).run()

        with mock.patch.object(calls, "run_in_transaction", look):
            self.assertEqual(race(end, sweep)[1], 5)
        self.assertEqual(len(self.bank.paid), 5)

    @marks.slow
    def test_is_sent_where_no_retry_is_left(self):
        """Taken back it would have failed for good."""
        with override_settings(WITHDRAWAL_MAX_RETRIES=0):
            self.patience = 0.5
            self.pause_while_two_are_sent()
        self.assertEqual(len(self.bank.paid), 5)


class PauseRaceTest(CommittingTestCase):
    """Races on separate connections."""

    def test_committed_before_a_claim_begins_is_seen_by_it(self):
        self.deposit(1000)
        self.due_withdrawal(100)
        committed = threading.Event()

        def stop() -> None:
            pause.pause(reason=REASON, actor=OSCAR)
            committed.set()

        def claim() -> Claim:
            # The claim's connection has read before the pause is committed.
            Transaction.objects.count()
            assert committed.wait(PATIENCE)
            return payout.claim(
                claiming.find_due(self.now),
                bank=self.bank.abilities,
                limit=9,
                now=self.now,
            )

        _, *claims = race(stop, claim, claim, claim)
        self.assertEqual([(len(each), each.paused) for each in claims], 3 * [(0, True)])

    @marks.slow
    def test_against_claims_lets_none_begin_after_it(self):
        """Each claim is either complete, or finds payouts paused."""
        self.deposit(1000)

        def prepare(_number: int) -> Transaction:
            pause.resume(actor=OSCAR)
            return self.due_withdrawal(1)

        def claim(row: Transaction) -> Claim:
            mine = Transaction.objects.filter(pk=row.pk)
            return payout.claim(mine, bank=self.bank.abilities, limit=1, now=self.now)

        def stop(_row: Transaction) -> Pause:
            return pause.pause(reason=REASON, actor=OSCAR)

        def judge(row: Transaction, results: list) -> None:
            stopped, claimed = results
            self.assertIsInstance(stopped, Pause)
            self.assertIsInstance(claimed, Claim)
            row.refresh_from_db()
            expected = "PENDING" if claimed.paused else "PROCESSING"
            self.assertEqual(row.status, expected)
            self.assertEqual(len(claim(row)), 0)

        rounds(FEW, prepare, [stop, claim], judge)

    def test_by_two_operators_at_once_is_one(self):
        stop = partial(pause.pause, reason=REASON)
        for _ in range(5):
            results = race(
                partial(stop, actor="oscar"),
                partial(stop, actor="olga"),
            )
            self.assertEqual(len({made.pk for made in results}), 1, results)
            self.assertEqual(Pause.objects.filter(open=True).count(), 1)
            self.assertEqual(alarm.unacknowledged().count(), 1)
            ends = partial(pause.resume, actor=OSCAR)
            ended = race(ends, ends)
            self.assertEqual(sum(each is not None for each in ended), 1)
            self.assertFalse(pause.is_paused())


class PayoutsCommandTest(CommandTestCase):
    def test_pauses_resumes_and_says_how_it_stands(self) -> None:
        self.assertEqual(self.run_command("payouts"), "Payouts run.\n")
        by = ("--by", "oscar")
        said = self.run_command("payouts", "pause", "--reason", REASON, *by)
        self.assertIn(f"by oscar: {REASON}", said)
        self.assertIn(f"by oscar: {REASON}", self.run_command("payouts", "status"))
        again = self.run_command("payouts", "pause", "--reason", "x", "--by", "olga")
        self.assertIn(f"by oscar: {REASON}", again)
        self.assertEqual(self.run_command("payouts", "resume", *by), "Payouts run.\n")
        self.assertIn("No operator", self.run_command("payouts", "resume", *by))
        self.assertEqual(Pause.objects.get().resumed_by, "oscar")

    @override_settings(WITHDRAWALS_PAUSED=True)
    def test_says_that_the_setting_is_stronger(self) -> None:
        for words in (("status",), ("resume", "--by", "oscar")):
            self.assertIn("WITHDRAWALS_PAUSED", self.run_command("payouts", *words))

    def test_refuses_in_one_line(self) -> None:
        by = ("--by", "oscar")
        self.assert_refused("why", "payouts", "pause", "--reason", " ", *by)
        self.assert_refused("who", "payouts", "resume", "--by", " ")
        with self.assertRaises(CommandError):
            self.run_command("payouts", "pause", *by)

    def test_shows_no_control_characters(self) -> None:
        pause.pause(reason="\x1b[31mred\nline", actor="oscar")
        self.assertIn("?[31mred line", self.run_command("payouts"))
