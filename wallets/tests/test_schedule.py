"""Many withdrawals that are planned in one transaction: each has its own answer."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from datetime import timezone as dt_timezone
from functools import partial
from typing import Any
from unittest import mock, skipUnless

from django.db import DataError, connection, transaction
from django.test import SimpleTestCase, override_settings, skipUnlessDBFeature
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from wallets.errors import IdempotencyKeyReused, InvalidAmount, InvalidSchedule
from wallets.models.base import MAX_MONEY
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import DepositRequest
from wallets.services.deposits.deposit_batch import deposit_in_steps
from wallets.services.operations import record
from wallets.services.payouts import dispatch
from wallets.services.requests.busy import Busy
from wallets.services.requests.group import in_halves
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals import schedule
from wallets.services.withdrawals.reference import references_of_key, texts_of_key
from wallets.services.withdrawals.schedule import (
    ScheduleReceipt,
    ScheduleRequest,
    schedule_many,
)
from wallets.services.withdrawals.schedule_batch import Asked
from wallets.tests import builders, marks
from wallets.tests.base import (
    OSCAR,
    CommittingTestCase,
    WalletTestCase,
)
from wallets.tests.races import elsewhere
from wallets.utils.database.transactions import lock_rows
from wallets.utils.messaging import broker

NOBODY = Wallet(uuid=uuid.UUID(int=7))
POSTGRESQL = connection.vendor == "postgresql"


class ReferencesTest(SimpleTestCase):
    """The references of a request's attempts…"""

    def test_are_the_same_as_text(self) -> None:
        chance = random.Random(4)
        for _ in range(50):
            key, wallet = (uuid.UUID(int=chance.getrandbits(128)) for _ in range(2))
            for retries in (0, 1, 3, 7):
                with override_settings(WITHDRAWAL_MAX_RETRIES=retries):
                    expected = [str(one) for one in references_of_key(key, wallet)]
                    self.assertEqual(texts_of_key(key, wallet), expected)

    def test_are_those_of_the_default_too_where_fewer_are_allowed(self) -> None:
        asked = uuid.UUID(int=1), uuid.UUID(int=2)
        for retries, number in ((0, 4), (1, 4), (3, 4), (4, 5), (9, 10)):
            with override_settings(WITHDRAWAL_MAX_RETRIES=retries):
                self.assertEqual(len(references_of_key(*asked)), number)


class ScheduleTestCase(WalletTestCase):
    def asked(
        self,
        wallet: Wallet,
        amount: int,
        key: uuid.UUID | None = None,
        *,
        at: float = 3600,
    ) -> ScheduleRequest:
        return ScheduleRequest(wallet.uuid, amount, self.after(at), key)


class ScheduleManyTest(ScheduleTestCase):
    def test_plans_all_in_order(self) -> None:
        wallets = [self.alice, self.bob, self.alice] * 5
        requests = [
            self.asked(wallet, n, uuid.uuid4() if n % 2 else None, at=60 * n)
            for n, wallet in enumerate(wallets, start=1)
        ]
        answers = schedule_many(requests, now=self.now)
        for answer, request in zip(answers, requests, strict=True):
            row = answer.transaction
            stored = Transaction.objects.get(pk=row.pk)
            for field in Transaction._meta.concrete_fields:
                name = field.attname
                self.assertEqual(getattr(row, name), getattr(stored, name), name)
            self.assertEqual(row.wallet.uuid, request.wallet)
            self.assertEqual(stored.amount, request.amount)
            self.assertEqual(stored.scheduled_for, request.scheduled_for)
            if request.key is not None:
                self.assertEqual(stored.idempotency_key, request.key)
            self.assertFalse(answer.replayed)
            self.assertTrue(row.cancelable)
            first = stored.transitions.get()
            self.assertEqual(
                (first.sequence, first.event, first.from_state, first.to_state),
                (0, "schedule", "", "pending"),
            )
            self.assertEqual((first.actor, first.created_at), ("client", self.now))

    def test_writes_nothing_for_an_empty_list(self) -> None:
        for wait in (True, False):
            self.assertEqual(schedule_many([], wait=wait), [])

    def test_plans_the_good_ones_beside_the_refused(self) -> None:
        used = self.deposit(5).idempotency_key
        for wait in (True, False):
            answers = schedule_many(
                [
                    self.asked(self.alice, 1),
                    self.asked(NOBODY, 2),
                    self.asked(self.alice, 3, used),
                    self.asked(self.alice, 0),
                    self.asked(self.alice, MAX_MONEY + 1),
                    self.asked(self.alice, 4, at=-60),
                    self.asked(self.bob, 5, at=86_400 * 365 * 30),
                    self.asked(self.bob, 6),
                ],
                wait=wait,
            )
            self.assertEqual(
                [type(answer) for answer in answers],
                [
                    ScheduleReceipt,
                    Wallet.DoesNotExist,
                    IdempotencyKeyReused,
                    InvalidAmount,
                    InvalidAmount,
                    InvalidSchedule,
                    InvalidSchedule,
                    ScheduleReceipt,
                ],
            )

    def test_replays_what_was_made_before_as_it_is_now(self) -> None:
        key = uuid.uuid4()
        request = self.asked(self.alice, 5, key, at=60)
        (made,) = schedule_many([request], now=self.now)
        WithdrawalService.cancel(made.transaction.pk)
        for wait in (True, False):
            again, other, new = schedule_many(
                [
                    request,
                    self.asked(self.bob, 5, key),
                    self.asked(self.bob, 1, at=900),
                ],
                now=self.after(120),
                wait=wait,
            )
            self.assertEqual(again, (made.transaction, True))
            self.assertEqual(again.transaction.status, "CANCELLED")
            self.assertEqual(again.transaction.wallet, self.alice)
            self.assertIsInstance(other, IdempotencyKeyReused)
            self.assertFalse(new.replayed)

    def test_sees_a_key_twice_in_one_batch(self) -> None:
        key = uuid.uuid4()
        first, again, other = schedule_many(
            [
                self.asked(self.alice, 5, key),
                self.asked(self.alice, 5, key),
                self.asked(self.alice, 6, key),
            ]
        )
        self.assertFalse(first.replayed)
        self.assertEqual(again, (first.transaction, True))
        self.assertIsInstance(other, IdempotencyKeyReused)
        self.assertEqual(Transition.objects.count(), 1)

    def test_does_not_consume_a_refused_ones_key(self) -> None:
        key = uuid.uuid4()
        unknown, past, done = schedule_many(
            [
                self.asked(NOBODY, 5, key),
                self.asked(self.alice, 5, key, at=-1),
                self.asked(self.alice, 5, key),
            ]
        )
        self.assertIsInstance(unknown, Wallet.DoesNotExist)
        self.assertIsInstance(past, InvalidSchedule)
        self.assertEqual((done.transaction.amount, done.replayed), (5, False))

    def test_finds_what_an_operator_has_recorded(self) -> None:
        """It is found by the reference that is derived from the client's key."""
        self.deposit(1000)
        key = uuid.uuid4()
        paid = record.record_payment(
            self.alice.uuid,
            7,
            reference=references_of_key(key, self.alice.uuid)[1],
            evidence="line 3 of the bank's list",
            actor=OSCAR,
        )
        for wait in (True, False):
            found, other, new = schedule_many(
                [
                    self.asked(self.alice, 7, key),
                    self.asked(self.alice, 8, key),
                    self.asked(self.alice, 1),
                ],
                wait=wait,
            )
            self.assertEqual(found, (paid, True))
            self.assertEqual(found.transaction.status, "COMPLETED")
            self.assertIsInstance(other, IdempotencyKeyReused)
            self.assertFalse(new.replayed)

    def test_finds_it_after_fewer_retries_are_allowed(self) -> None:
        """The bank paid the last attempt that was allowed then."""
        self.deposit(1000)
        key = uuid.uuid4()
        paid = record.record_payment(
            self.alice.uuid,
            7,
            reference=references_of_key(key, self.alice.uuid)[3],
            evidence="line 3 of the bank's list",
            actor=OSCAR,
        )
        for retries in (0, 1, 2):
            for wait in (True, False):
                with override_settings(WITHDRAWAL_MAX_RETRIES=retries):
                    found, new = schedule_many(
                        [self.asked(self.alice, 7, key), self.asked(self.bob, 1)],
                        wait=wait,
                    )
                self.assertEqual(found, (paid, True))
                self.assertFalse(new.replayed)

    def test_plans_a_hundred_in_few_statements(self) -> None:
        requests = [
            self.asked((self.alice, self.bob)[n % 2], 1, uuid.uuid4())
            for n in range(100)
        ]
        with CaptureQueriesContext(connection) as queries:
            schedule_many(requests)
        # Two savepoint statements are of the test case. PostgreSQL has one more.
        self.assertLessEqual(len(queries), 3 if POSTGRESQL else 10, queries)
        self.assertEqual(Transition.objects.count(), 100)

    def test_wakes_a_worker_once_for_what_is_due_first(self) -> None:
        times = [7200.0, 1.0, 3600.0]
        for first in (times, times[::-1], [3600.0, 7200.0]):
            with (
                mock.patch.object(broker, "wake_up") as wake_up,
                self.captureOnCommitCallbacks(execute=True),
            ):
                schedule_many(
                    [self.asked(self.alice, 1, at=at) for at in first], now=self.now
                )
            wanted = [mock.call(dispatch.DRAIN_PENDING)] * (1.0 in first)
            self.assertEqual(wake_up.mock_calls, wanted)

    def test_logs_each_new_withdrawal(self) -> None:
        with (
            self.assertLogs("wallets.services.payouts.transition", "DEBUG") as logs,
            self.captureOnCommitCallbacks(execute=True),
        ):
            made = schedule_many([self.asked(self.alice, 1), self.asked(self.bob, 2)])
        told = {record.withdrawal_id for record in logs.records}
        self.assertEqual(told, {answer.transaction.pk for answer in made})


# The parts of requests, which are combined at random.
WALLETS = st.sampled_from([0, 1, 2])  # alice, bob, nobody
AMOUNTS = st.sampled_from([1, 1, 1, 7, 0, MAX_MONEY, MAX_MONEY + 1, True, 1.0])
SECONDS = st.sampled_from([60, 60, 3600, 0, -1, 86_400 * 365 * 30, None])
# No key; four new keys; the keys of a deposit, of a withdrawal, and of a payment that
# an operator has recorded.
KEYS = st.sampled_from([None, 0, 1, 2, 3, 4, 5, 6])
EXAMPLES = int(os.environ.get("WALLET_EXAMPLES", "60"))
REQUESTS = st.lists(st.tuples(WALLETS, AMOUNTS, SECONDS, KEYS), max_size=12)


@marks.slow
class OneAfterTheOtherTest(ScheduleTestCase):
    """A batch has the same results as its requests one after the other…"""

    def setUp(self) -> None:
        super().setUp()
        self.keys = [uuid.uuid5(uuid.NAMESPACE_URL, str(n)) for n in range(7)]
        WalletService.deposit(self.alice.uuid, 1, self.keys[4])
        WithdrawalService.schedule(
            self.alice.uuid, 1, self.after(60), self.keys[5], now=self.now
        )
        record.record_payment(
            self.alice.uuid,
            1,
            reference=references_of_key(self.keys[6], self.alice.uuid)[0],
            evidence="line 3 of the bank's list",
            actor=OSCAR,
        )
        self.before = set(Transaction.objects.values_list("pk", flat=True))

    def test_for_any_requests(self) -> None:
        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
        @given(REQUESTS, st.booleans())
        def check(shapes: list[tuple[int, Any, Any, Any]], wait: bool) -> None:
            requests = [self.request(*shape) for shape in shapes]
            singly = self.outcome(lambda: [self.alone(one) for one in requests])
            together = self.outcome(
                lambda: schedule_many(requests, now=self.now, wait=wait)
            )
            self.assertEqual(together, singly)

        check()

    def request(
        self, wallet: int, amount: Any, seconds: float | None, key: int | None
    ) -> ScheduleRequest:
        when = self.after(60).replace(tzinfo=None) if seconds is None else None
        return ScheduleRequest(
            (self.alice, self.bob, NOBODY)[wallet].uuid,
            amount,
            when or self.after(seconds or 0),
            None if key is None else self.keys[key],
        )

    def alone(self, request: ScheduleRequest) -> Any:
        return schedule_many([request], now=self.now)[0]

    def outcome(self, work: Callable[[], Sequence[Any]]) -> Any:
        """Return the answers and the rows of `work`, and roll it back."""
        before = transaction.savepoint()
        answers = work()
        told, first = [], {}  # type: list[Any], dict[int, int]
        for n, one in enumerate(answers):
            if isinstance(one, Exception):
                told.append((type(one), str(one), getattr(one, "code", "")))
                continue
            # A new id is replaced by the number of its first answer.
            row = one.transaction
            known = row.pk if row.pk in self.before else first.setdefault(row.pk, n)
            told.append((known, one.replayed, self.columns(row), row.wallet.uuid))
        rows = [
            (self.columns(row), list(row.transitions.values_list(*TRANSITION)))
            for row in Transaction.objects.all()
        ]
        transaction.savepoint_rollback(before)
        return told, sorted(map(repr, rows))

    def columns(self, row: Transaction) -> dict[str, Any]:
        """Return the columns without ids and generated keys, which always differ."""
        names = {field.attname for field in Transaction._meta.concrete_fields}
        values = {name: getattr(row, name) for name in sorted(names - {"id"})}
        if row.idempotency_key not in self.keys:
            del values["idempotency_key"]
        return values


TRANSITION = ("sequence", "event", "from_state", "to_state", "attempt_number", "actor")
TRANSITION += ("evidence", "created_at")


class ScheduleTogetherTest(CommittingTestCase):
    """Of withdrawals in one batch…"""

    def setUp(self) -> None:
        super().setUp()
        self.wallets = builders.wallets(63)

    def requests(self, one: ScheduleRequest) -> list[ScheduleRequest]:
        when = self.after(3600)
        asked = [ScheduleRequest(w.uuid, 1, when, uuid.uuid4()) for w in self.wallets]
        asked.insert(40, one)
        return asked

    def together(self, one: ScheduleRequest) -> tuple[Any, int]:
        """Plan all; return the answer to `one`, and the number of tries."""
        real = schedule.run_unless_locked
        with mock.patch.object(
            schedule, "run_unless_locked", side_effect=real
        ) as tried:
            answers = elsewhere(
                20, lambda: schedule_many(self.requests(one), wait=False)
            )
        answer = answers.pop(40)
        made = [isinstance(other, ScheduleReceipt) for other in answers]
        self.assertTrue(all(made), answers)
        return answer, tried.call_count

    @skipUnlessDBFeature("has_select_for_update_nowait")
    def test_one_with_a_key_in_use_does_not_delay_the_others(self) -> None:
        key = uuid.uuid4()
        with transaction.atomic():
            deposit_in_steps([DepositRequest(self.bob.uuid, 1, key)])
            answer, tried = self.together(
                ScheduleRequest(self.alice.uuid, 1, self.after(60), key)
            )
        self.assertIsInstance(answer, Busy)
        # All, their halves, and their halves, until the request is alone.
        self.assertLessEqual(tried, 2 * 6 + 1)
        with self.assertRaises(IdempotencyKeyReused):
            WithdrawalService.schedule(self.alice.uuid, 1, self.after(60), key)

    @skipUnlessDBFeature("has_select_for_update_skip_locked")
    def test_one_with_a_locked_wallet_does_not_delay_the_others(self) -> None:
        with transaction.atomic():
            lock_rows(Wallet.objects.filter(pk=self.alice.pk))
            key = uuid.uuid4()
            answer, tried = self.together(
                ScheduleRequest(self.alice.uuid, 1, self.after(60), key)
            )
        self.assertEqual(tried, 1)
        # On PostgreSQL a new row needs no lock of its wallet.
        if POSTGRESQL:
            self.assertEqual(answer.transaction.amount, 1)
        else:
            self.assertIsInstance(answer, Busy)

    @skipUnless(connection.vendor == "mysql", "a new row locks no wallet")
    def test_the_first_with_a_key_counts_also_when_it_has_to_wait(self) -> None:
        key, when = uuid.uuid4(), self.after(60)
        with transaction.atomic():
            lock_rows(Wallet.objects.filter(pk=self.alice.pk))
            asked = [
                ScheduleRequest(wallet.uuid, 1, when, key)
                for wallet in (self.alice, self.bob)
            ]
            answers = elsewhere(20, lambda: schedule_many(asked, wait=False))
        self.assertEqual([type(one) for one in answers], [Busy, Busy])
        self.assertFalse(Transaction.objects.filter(idempotency_key=key).exists())

    def test_one_that_fails_leaves_the_others_as_they_are(self) -> None:
        """The others are already planned, and are no replays."""
        real = schedule.schedule_in_steps
        strange = ScheduleRequest(NOBODY.uuid, 1, self.after(60), uuid.uuid4())

        def judge(asked: Sequence[Asked], **options: Any) -> Any:
            if any(one.wallet_uuid == strange.wallet for one in asked):
                raise DataError("rows that break the rules")
            return real(asked, **options)

        with (
            mock.patch.object(schedule, "schedule_in_steps", judge),
            self.assertLogs("wallets.services.requests.group", "ERROR") as logs,
        ):
            answers = schedule_many(self.requests(strange), wait=False)
        self.assertIsInstance(answers.pop(40), Busy)
        self.assertEqual({answer.replayed for answer in answers}, {False})
        self.assertEqual(len(logs.records), 1)

    def test_one_that_is_refused_costs_the_others_nothing(self) -> None:
        answer, tried = self.together(
            ScheduleRequest(NOBODY.uuid, 1, self.after(60), uuid.uuid4())
        )
        self.assertIsInstance(answer, Wallet.DoesNotExist)
        # On PostgreSQL the single statement omits it, and a second try refuses it.
        self.assertEqual(tried, 1 + POSTGRESQL)

    @skipUnless(POSTGRESQL, "others take the moment for what it is")
    def test_one_that_the_database_refuses_does_not_stop_the_others(
        self,
    ) -> None:
        """Python accepts this offset, and PostgreSQL does not."""
        strange = self.after(60).astimezone(dt_timezone(timedelta(hours=23)))
        request = ScheduleRequest(self.alice.uuid, 1, strange, uuid.uuid4())
        with self.assertLogs("wallets.services.requests.group", "ERROR"):
            answer, tried = self.together(request)
        self.assertIsInstance(answer, Busy)
        self.assertLessEqual(tried, 2 * 6 + 1)


class InHalvesTest(SimpleTestCase):
    """Work that one request prevents for all others…"""

    def setUp(self) -> None:
        self.tried = 0

    def work(
        self, bad: Callable[[], None] | None, *numbers: int
    ) -> Callable[[dict[int, int]], dict[int, int] | None]:
        def work(requests: dict[int, int]) -> dict[int, int] | None:
            self.tried += 1
            if set(numbers) & set(requests.values()):
                if bad is not None:
                    bad()
                return None
            return {n: -one for n, one in requests.items()}

        return work

    def test_is_done_once_without_conflicts(self) -> None:
        found = in_halves(self.work(None), range(64))
        self.assertEqual(found, [-n for n in range(64)])
        self.assertEqual(self.tried, 1)
        self.assertEqual(in_halves(self.work(None), []), [])
        self.assertEqual(self.tried, 1)

    def test_is_done_for_the_others(self) -> None:
        def damaged() -> None:
            raise DataError("not a value of this column")

        for bad, told in ((None, 0), (damaged, 1)):
            self.tried = 0
            work = self.work(bad, 40)
            found = self.logged(partial(in_halves, work, range(64)), told)
            self.assertIsInstance(found.pop(40), Busy)
            self.assertEqual(found, [-n for n in range(64) if n != 40])
            self.assertLessEqual(self.tried, 2 * 6 + 1)

    def test_is_tried_a_bounded_number_of_times(self) -> None:
        found = in_halves(self.work(None, *range(64)), range(64))
        self.assertEqual({type(one) for one in found}, {Busy})
        self.assertEqual(self.tried, 2 * 64 - 1)

    def test_is_not_tried_again_after_an_error_that_concerns_all(self) -> None:
        def away() -> None:
            raise ConnectionError("the database is away")

        with self.assertRaises(ConnectionError):
            in_halves(self.work(away, 1), range(64))
        self.assertEqual(self.tried, 1)

    def logged(self, work: Callable[[], Any], lines: int) -> Any:
        if not lines:
            with self.assertNoLogs("wallets.services.requests.group"):
                return work()
        with self.assertLogs("wallets.services.requests.group", "ERROR") as logs:
            found = work()
        self.assertEqual(len(logs.records), lines)
        return found
