"""More wallets are locked than a claim, or a round of look-ups, takes."""

from __future__ import annotations

from typing import Any
from unittest import mock

from django.conf import settings
from django.db.models import QuerySet
from django.test import override_settings

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts import busy_wallets, payout, resolver, take
from wallets.services.payouts.claiming import FindDue, find_due, find_retryable
from wallets.services.payouts.drain import Drain
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders
from wallets.tests.clocks import StandingClock
from wallets.tests.fakes import LOOKS_UP_ONLY, Does, FakeBank
from wallets.tests.races import be_impatient
from wallets.tests.test_busy_wallets import PATIENCE, LockingTestCase
from wallets.utils.messaging import stopping

# A batch is full of the rows of locked wallets, more than once.
BATCH, MANY = 3, 10


class ManyLockedTestCase(LockingTestCase):
    """Each of many wallets has a withdrawal that is due before Bob's and Alice's."""

    def setUp(self) -> None:
        super().setUp()
        self.many = [builders.wallet_with(1) for _ in range(MANY)]
        self.earlier = [
            builders.due_withdrawal(wallet, 1, due=self.after(-60))
            for wallet in self.many
        ]

    def locked(self) -> QuerySet[Any]:
        wallets = [self.bob, *self.many]
        return Wallet.objects.filter(pk__in=[one.pk for one in wallets]).order_by("pk")

    def statuses(self) -> set[str]:
        withdrawals = Transaction.objects.filter(transaction_type="WITHDRAWAL")
        return set(withdrawals.values_list("status", flat=True))


@override_settings(WITHDRAWAL_BATCH_SIZE=BATCH)
class ManyBusyWalletsTest(ManyLockedTestCase):
    """Many locked wallets, each with a payout that is due before Alice's…"""

    def assert_alice_is_paid_first(self, find: FindDue) -> None:
        self.hold()
        released = self.let_go_when(self.is_alices_completed)
        sweep = Drain(find, bank=self.bank, seconds=PATIENCE)
        self.assertEqual(sweep.run(), MANY + 2)
        self.assertEqual(released, [True])
        self.assertEqual(self.statuses(), {"COMPLETED"})
        self.assertEqual(len(self.bank.paid), MANY + 2)

    def test_do_not_delay_alices_payout(self) -> None:
        self.assert_alice_is_paid_first(find_due)

    def test_do_not_delay_alices_retry(self) -> None:
        self.bank.script += [Does.REFUSE] * (MANY + 2)
        Drain(find_due, bank=self.bank, seconds=PATIENCE).run()
        failed = Transaction.objects.filter(status="FAILED")
        failed.update(next_attempt_at=self.after(-60))
        failed.filter(wallet=self.alice).update(next_attempt_at=self.now)
        self.assert_alice_is_paid_first(find_retryable)

    def test_are_looked_at_again_at_an_interval(self) -> None:
        """A sweep that has nothing else to do asks the database no more often."""
        self.assert_no_hot_loop()

    def test_beyond_the_most_that_are_left_out_are_tried_at_an_interval(self) -> None:
        with mock.patch.object(busy_wallets, "MAX_LEFT_OUT", BATCH + 1):
            self.assert_no_hot_loop()

    def assert_no_hot_loop(self) -> None:
        """Time passes only while the sweep waits, so no load of the machine counts."""
        self.hold()
        time = self.enterContext(StandingClock())
        rounds = 20

        def wait(seconds: float) -> bool:
            time.go_on(seconds)
            return False

        def claim(*args: Any, **options: Any) -> payout.Claim:
            self.assertLess(claimed.call_count, 2 * rounds)  # it would never end
            return claims(*args, **options)

        claims = payout.claim
        with (
            mock.patch.object(busy_wallets, "MAX_WAITING", 0),
            mock.patch.object(stopping, "wait", wait),
            mock.patch.object(payout, "claim", side_effect=claim) as claimed,
        ):
            seconds = rounds * busy_wallets.AGAIN_SECONDS
            Drain(find_due, bank=self.bank, seconds=seconds).run()
        self.assertGreater(claimed.call_count, 1)


class ManyBusyOutcomesTest(ManyLockedTestCase):
    """Many locked wallets, each with an outcome that is asked for before Alice's…"""

    def setUp(self) -> None:
        super().setUp()
        self.bank = FakeBank(LOOKS_UP_ONLY)
        for seconds, withdrawal in enumerate([*self.earlier, self.bobs, self.alices]):
            self.bank.script.append(Does.PAY_SILENTLY)
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
            withdrawal.attempts.update(next_check_at=self.after(seconds))

    def resolve(self, *, limit: int = BATCH) -> int:
        later = self.after(settings.WITHDRAWAL_LEASE)
        return resolver.resolve_due(bank=self.bank, limit=limit, now=later)

    def test_do_not_delay_the_look_up_of_alices(self) -> None:
        self.hold()
        released = self.let_go_when(self.is_alices_completed)
        self.assertGreaterEqual(self.resolve(), 1)
        self.assertEqual(released, [True])
        self.let_go.set()
        self.resolve(limit=100)
        self.assertEqual(self.statuses(), {"COMPLETED"})

    def test_are_left_to_the_next_round_after_its_time(self) -> None:
        """Rounds with one locked wallet each would go on for ever."""
        self.hold()
        be_impatient(self)
        time, waits = self.enterContext(StandingClock()), []
        real = take.take

        def taking(*args: Any, wait: bool) -> Any:
            waits.append(wait)
            time.go_on(settings.WITHDRAWAL_RESOLVE_INTERVAL)
            return real(*args, wait=wait)

        with mock.patch.object(take, "take", taking):
            self.resolve()
        self.assertEqual(waits, [False, True])
