"""Slots: drains leave room in their worker, and lose nothing if they have no slot."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

from celery import current_app
from celery.app.amqp import AMQP
from celery.concurrency import prefork, solo
from django.test import SimpleTestCase

from wallet.celery import _divide_the_pool
from wallets.services.payouts import dispatch, payout, sweeps
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import LOOKS_UP_ONLY
from wallets.tests.test_drain import SameThreadBank
from wallets.utils.messaging import broker, slots

RESOLVE = "wallets.tasks.resolve_unknown_withdrawals"
OTHERS = (
    "wallets.tasks.retry_failed_withdrawals",
    dispatch.DRAIN_RETRYABLE,
    "wallets.tasks.reconcile_bank",
    "events.tasks.give_places",
)


class SlotsTest(SimpleTestCase):
    def setUp(self) -> None:
        super().setUp()
        slots.bound({"pending": 2, "retry": 1})
        self.addCleanup(slots.bound, {})

    def take(self, kind: str) -> slots.Slot:
        slot = slots.take(kind)
        assert slot is not None
        self.addCleanup(slot.release)
        return slot

    def in_child(self, work: Callable[[], bool]) -> bool:
        """Return the result of `work` in a forked process, which does not clean up."""
        pid = os.fork()
        if pid == 0:
            os._exit(0 if work() else 1)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) == 0

    def test_are_bounded_for_each_kind(self) -> None:
        first = self.take("pending")
        self.take("pending")
        self.assertIsNone(slots.take("pending"))
        self.take("retry")
        self.assertIsNone(slots.take("retry"))
        first.release()
        first.release()
        self.take("pending")
        self.assertIsNone(slots.take("pending"))

    def test_are_shared_by_the_processes_of_a_worker(self) -> None:
        self.take("retry")
        self.assertTrue(self.in_child(lambda: slots._taken.clear() or self.none()))

    def none(self) -> bool:
        return slots.take("retry") is None

    def test_are_free_again_when_their_process_has_died(self) -> None:
        self.assertTrue(self.in_child(lambda: slots.take("retry") is not None))
        self.take("retry")

    def test_are_without_a_bound_outside_a_worker(self) -> None:
        slots.bound({})
        for _ in range(9):
            self.take("retry")


class DividedPoolTest(SimpleTestCase):
    """The processes of a worker that drains leave free…"""

    def limits(self, pool: Any, concurrency: int) -> dict[str, int]:
        self.addCleanup(slots.bound, {})
        _divide_the_pool(SimpleNamespace(pool_cls=pool, concurrency=concurrency))
        return dict(slots._limits)

    def test_is_the_resolver_and_the_ticks(self) -> None:
        for concurrency in (4, 8, 100):
            limits = self.limits(prefork.TaskPool, concurrency)
            self.assertLess(sum(limits.values()), concurrency)

    def test_is_a_drain_of_each_kind_in_any_pool(self) -> None:
        for pool, concurrency in ((solo.TaskPool, 1), (prefork.TaskPool, 2)):
            limits = self.limits(pool, concurrency)
            self.assertEqual(limits, {"pending": 1, "retry": 1})

    def test_has_queues_of_its_own_for_the_resolver_and_for_others(self) -> None:
        # A new application: the real one caches the queues of other tests.
        amqp = AMQP(current_app)

        def queue_of(task: str) -> str:
            return amqp.router.route({}, task)["queue"].name

        payouts = current_app.conf.task_default_queue
        resolver, others = f"{payouts}-resolve", f"{payouts}-others"
        for task in ("process_pending_withdrawals", "process_single_withdrawal"):
            self.assertEqual(queue_of(f"wallets.tasks.{task}"), payouts)
        self.assertEqual(queue_of(dispatch.DRAIN_PENDING), payouts)
        self.assertEqual(queue_of(RESOLVE), resolver)
        for task in OTHERS:
            self.assertEqual(queue_of(task), others)
        self.assertEqual(set(amqp.queues.consume_from), {payouts, resolver, others})


class LastLookTest(WalletTestCase):
    """A drain checks again at its end, for wake-ups that found no free slot."""

    def setUp(self) -> None:
        super().setUp()
        self.bank = SameThreadBank(LOOKS_UP_ONLY)
        self.deposit(100)
        self.due_withdrawal(10)
        slots.bound({"pending": 1, "retry": 1})
        self.addCleanup(slots.bound, {})

    def woken(self) -> list[str]:
        with mock.patch.object(broker, "wake_up") as wake_up:
            self.assertEqual(sweeps.pay_pending(bank=self.bank, seconds=60), 1)
        return [call.args[0] for call in wake_up.call_args_list]

    def test_finds_a_slot_taken_while_the_other_claims(self) -> None:
        nested: list[int] = []
        self.bank.on_the_way = lambda _: nested.append(
            sweeps.pay_pending(bank=self.bank)
        )
        self.assertEqual(self.woken(), [])
        self.assertEqual(nested, [0])

    def test_wakes_another_drain_for_what_came_after_the_last_claim(self) -> None:
        record = payout.record

        def late(*args: Any, **options: Any) -> Any:
            self.due_withdrawal(10)
            return record(*args, **options)

        with mock.patch.object(payout, "record", late):
            self.assertEqual(self.woken(), [dispatch.DRAIN_PENDING])

    def test_wakes_no_drain_when_nothing_came(self) -> None:
        self.assertEqual(self.woken(), [])

    def test_gives_the_slot_back_before_the_answers_are_there(self) -> None:
        record, free = payout.record, []

        def late(*args: Any, **options: Any) -> Any:
            slot = slots.take("pending")
            free.append(slot is not None)
            if slot:
                slot.release()
            return record(*args, **options)

        with mock.patch.object(payout, "record", late):
            self.woken()
        self.assertEqual(free, [True])
