"""Requests for a wallet that another transaction locks: only they wait, and not long.

Each process of the API has few threads that wait for locks (`wallets.asgi.application`).
"""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple
from unittest import skipIf

from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.test import override_settings

from wallets.asgi.application import Application
from wallets.models.wallet import Wallet
from wallets.services.wallet import WalletService
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, close_connections
from wallets.utils.database.transactions import lock_rows

PATIENCE = 60.0
MANY = 10
# Seconds. Nothing of the long one passes, unless the machine pauses for as long.
LONG, SHORT = 9, 1
_LOCK_WAIT = {
    "postgresql": "SET lock_timeout = '{}s'",
    "mysql": "SET SESSION innodb_lock_wait_timeout = {}",
}


def _end(pool: Any) -> None:
    """Let each thread of the pool close its connection, and end it."""
    all_there = threading.Barrier(pool._max_workers)

    def close() -> None:
        close_connections()
        all_there.wait(PATIENCE)

    closed = [pool.submit(close) for _ in range(pool._max_workers)]
    for one in closed:
        one.result(PATIENCE)
    pool.shutdown()


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


Call = Coroutine[Any, Any, Answer]


@skipIf(connection.vendor == "sqlite", "no row locks: the transaction is the lock")
@override_settings(API_CORRECTIONS=True)
class LockedWalletCase(CommittingTestCase):
    """Bob's wallet is locked; Alice, whose row is before his, and Carol are strangers."""

    lock_wait = LONG

    def setUp(self) -> None:
        super().setUp()
        self.carol = WalletService.create()
        self.deposit(1000)
        self.bobs, self.alices = self.deposit_of(self.bob), self.deposit_of(self.alice)
        self.let_go = threading.Event()
        self.addCleanup(self.let_go.set)
        connection_created.connect(self._limit)
        self.addCleanup(connection_created.disconnect, self._limit)
        self.application = Application()

    def deposit_of(self, wallet: Wallet) -> int:
        return self.deposit(1000, wallet).pk

    def _limit(self, connection: Any, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_LOCK_WAIT[connection.vendor].format(self.lock_wait))

    def hold(self) -> None:
        """Lock Bob's wallet until `let_go`."""
        held = threading.Event()

        def work() -> None:
            with transaction.atomic():
                lock_rows(Wallet.objects.filter(pk=self.bob.pk))
                held.set()
                self.let_go.wait(PATIENCE)
            close_connections()

        holder = threading.Thread(target=work)
        holder.start()
        self.addCleanup(holder.join, PATIENCE)
        self.addCleanup(self.let_go.set)
        self.assertTrue(held.wait(PATIENCE))

    def during(self, test: Callable[[], Awaitable[None]]) -> None:
        """Run the test while Bob's wallet is locked, then end the process's threads."""

        async def run() -> None:
            try:
                await asyncio.wait_for(test(), PATIENCE)
            finally:
                self.let_go.set()

        self.hold()
        try:
            asyncio.run(run())
        finally:
            for pool in self.application._pools.values():
                _end(pool)

    async def call(
        self, method: str, path: str, body: Any, key: uuid.UUID | None = None
    ) -> Answer:
        raw, said = json.dumps(body).encode(), []
        headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
        if key:
            headers.append((b"idempotency-key", str(key).encode()))

        async def receive() -> Any:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "scheme": "http",
            "http_version": "1.1",
            "client": ("192.0.2.7", 1),
        }
        await self.application(scope, receive, send)
        fields = {name.decode(): value.decode() for name, value in said[0]["headers"]}
        return Answer(said[0]["status"], fields, json.loads(said[1]["body"]))

    def pay_in(self, wallet: Wallet, key: uuid.UUID | None = None) -> Call:
        path = f"/wallets/{wallet.uuid}/deposit"
        return self.call("POST", path, {"amount": 1}, key)

    def pay_in_many(self, *wallets: Wallet) -> Call:
        items = [
            {
                "wallet": str(one.uuid),
                "amount": 1,
                "idempotency_key": str(uuid.uuid4()),
            }
            for one in wallets
        ]
        return self.call("POST", "/deposits/", items)

    def move(self, source: Wallet, target: Wallet, amount: int = 1) -> dict[str, Any]:
        return {"from": str(source.uuid), "to": str(target.uuid), "amount": amount}

    def transfer(self, source: Wallet, target: Wallet) -> Call:
        return self.call("POST", "/transfers/", self.move(source, target))

    def transfer_many(self, *moves: dict[str, Any]) -> Call:
        items = [{**one, "idempotency_key": str(uuid.uuid4())} for one in moves]
        return self.call("POST", "/transfers/", items)

    def rename(self, wallet: Wallet) -> Call:
        body = {"metadata": {"name": "x"}}
        return self.call("PATCH", f"/wallets/{wallet.uuid}/", body)

    def freeze(self, wallet: Wallet) -> Call:
        body = {"direction": "in", "reason": "x"}
        return self.call("POST", f"/wallets/{wallet.uuid}/freeze", body)

    def correct(self, wallet: Wallet, number: int) -> Call:
        path = f"/wallets/{wallet.uuid}/transactions/{number}/corrections/"
        return self.call("POST", path, {"amount": 1, "reason": "x"})


class StrangersTest(LockedWalletCase):
    """Strangers of a locked wallet, for which many requests wait…"""

    async def are_answered(
        self, bobs: Sequence[Call], strangers: Sequence[Call]
    ) -> None:
        waiting = [asyncio.create_task(one) for one in bobs]
        await asyncio.sleep(0.3)  # they need not all wait, but most do
        for stranger in strangers:
            answer = await stranger
            self.assertIn(answer.status, (200, 201), answer.body)
            self.assertFalse([one for one in waiting if one.done()], "as late as Bob's")
        self.let_go.set()
        for answer in await asyncio.gather(*waiting):
            self.assertIn(answer.status, (200, 201), answer.body)

    def test_are_answered_at_once(self) -> None:
        self.during(
            lambda: self.are_answered(
                [self.pay_in(self.bob) for _ in range(MANY)],
                [
                    self.transfer_many(self.move(self.alice, self.carol)),
                    self.transfer(self.alice, self.carol),
                    self.pay_in_many(self.alice, self.carol),
                    self.pay_in(self.alice),
                ],
            )
        )

    def test_are_answered_when_bulk_requests_wait(self) -> None:
        moves = self.move(self.bob, self.carol), self.move(self.carol, self.bob)
        self.during(
            lambda: self.are_answered(
                [self.transfer_many(*moves) for _ in range(MANY)]
                + [self.pay_in_many(self.alice, self.bob) for _ in range(MANY)],
                [
                    self.transfer_many(self.move(self.alice, self.carol)),
                    self.pay_in_many(self.alice, self.carol),
                    self.rename(self.alice),
                ],
            )
        )

    def test_are_answered_when_changes_wait(self) -> None:
        for change in (self.rename, self.freeze):
            with self.subTest(change.__name__):
                self.application, self.let_go = Application(), threading.Event()
                self.during(
                    partial(
                        self.are_answered,
                        [change(self.bob) for _ in range(MANY)],
                        [change(self.alice)],
                    )
                )

    def test_are_answered_when_corrections_wait(self) -> None:
        self.during(
            lambda: self.are_answered(
                [self.correct(self.bob, self.bobs) for _ in range(MANY)],
                [self.correct(self.alice, self.alices)],
            )
        )

    @marks.slow
    def test_are_answered_when_a_transfer_between_both_waits(self) -> None:
        """Alice's row comes first, so the transfer could lock it and wait for Bob's."""
        for waiting in (
            lambda: self.transfer(self.bob, self.alice),
            lambda: self.transfer_many(self.move(self.bob, self.alice)),
        ):
            with self.subTest():
                self.application, self.let_go = Application(), threading.Event()
                self.during(
                    partial(
                        self.are_answered,
                        [waiting()],
                        [self.rename(self.alice), self.pay_in(self.alice)],
                    )
                )


class WaitingTest(LockedWalletCase):
    """Requests that wait for a locked wallet…"""

    async def answers(self, *calls: Call) -> list[Answer]:
        """Let the wallet go while the calls wait; return their answers."""
        tasks = []
        for one in calls:
            tasks.append(asyncio.create_task(one))
            await asyncio.sleep(0.02)  # they come one after the other
        await asyncio.sleep(0.2)
        self.assertFalse(any(one.done() for one in tasks))
        self.let_go.set()
        return await asyncio.gather(*tasks)

    def test_are_done_in_the_order_in_which_they_came(self) -> None:
        async def test() -> None:
            calls = [self.pay_in(self.bob) for _ in range(MANY)]
            answers = await self.answers(*calls)
            balances = [one.body["wallet"]["balance"] for one in answers]
            self.assertEqual(balances, [1001 + n for n in range(MANY)])

        self.during(test)

    def test_of_many_are_done_once_and_completely(self) -> None:
        """What no lock stopped is made first; the answer says that all is new."""

        async def test() -> None:
            deposits, transfers = await self.answers(
                self.pay_in_many(self.alice, self.bob, self.carol),
                self.transfer_many(
                    self.move(self.alice, self.carol),
                    self.move(self.bob, self.carol, 1000),
                    self.move(self.carol, self.alice, 1000),
                ),
            )
            for answer in (deposits, transfers):
                self.assertEqual({one["result"] for one in answer.body}, {"done"})

        self.during(test)
        self.assert_money(self.alice, balance=3000)
        self.assert_money(self.bob, balance=1)
        self.assert_money(self.carol, balance=2)


class InVainTest(LockedWalletCase):
    """Requests for a wallet that stays locked…"""

    lock_wait = SHORT

    @marks.slow
    def test_are_all_answered(self) -> None:
        kinds: list[Callable[[], Call]] = [
            lambda: self.pay_in(self.bob),
            lambda: self.pay_in_many(self.bob, self.alice),
            lambda: self.transfer(self.bob, self.alice),
            lambda: self.transfer_many(self.move(self.alice, self.bob)),
            lambda: self.rename(self.bob),
            lambda: self.correct(self.bob, self.bobs),
        ]

        async def test() -> None:
            plain = [call() for call in kinds for _ in range(MANY)]
            keyed = [self.pay_in(self.bob, uuid.uuid4()) for _ in range(MANY)]
            answers = await asyncio.gather(*plain, *keyed)
            self.assertFalse(self.let_go.is_set())
            for number, answer in enumerate(answers):
                status = 503 if number < len(plain) else 409
                self.assertEqual(answer.status, status, answer.body)
                self.assertIn("retry-after", answer.headers)

        self.during(test)
        self.assert_money(self.bob, balance=1000)
