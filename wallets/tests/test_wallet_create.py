"""Creating wallets: many in one call, replays, conflicts, races."""

from __future__ import annotations

import threading
import uuid
from functools import partial
from typing import Any
from unittest import mock

from django.db import OperationalError, connection, transaction
from django.test import override_settings

from wallets.errors import IdempotencyKeyReused, InvalidInput, ReferenceTaken
from wallets.models.wallet import Wallet
from wallets.services.requests.busy import Busy
from wallets.services.wallet import WalletService
from wallets.services.wallets import create
from wallets.services.wallets.create import (
    CreateReceipt,
    CreateRequest,
    create_many,
)
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, WalletTestCase
from wallets.tests.races import FEW, race, rounds
from wallets.utils.caller import Caller

KEY = uuid.UUID(int=1)


class CreateManyTest(WalletTestCase):
    def test_gives_each_request_its_own_result(self):
        first = create_many([CreateRequest(reference="taken")])
        results = create_many(
            [
                CreateRequest(),
                CreateRequest(reference="taken"),
                CreateRequest(reference="one", key=KEY),
                CreateRequest(reference="one", key=KEY),
                CreateRequest(reference="one"),
                CreateRequest(reference="two", key=KEY),
                CreateRequest(currency="EUR", metadata='{"a":"b"}'),
                CreateRequest(),
            ]
        )
        kinds = [type(one) for one in results]
        self.assertEqual(
            kinds,
            [
                CreateReceipt,
                ReferenceTaken,
                CreateReceipt,
                CreateReceipt,
                ReferenceTaken,
                IdempotencyKeyReused,
                CreateReceipt,
                CreateReceipt,
            ],
        )
        self.assertEqual(results[2].wallet, results[3].wallet)
        self.assertEqual((results[2].replayed, results[3].replayed), (False, True))
        made = {one.wallet.uuid for one in results if isinstance(one, CreateReceipt)}
        self.assertEqual(len(made), 4)
        self.assertEqual(Wallet.objects.count(), 4 + len(first) + 2)  # alice and bob
        self.assertEqual(
            (results[6].wallet.currency, results[6].wallet.metadata),
            ("EUR", '{"a":"b"}'),
        )

    def test_writes_who_creates_them(self):
        caller = Caller("key 7", "acme")
        for wait in (True, False):
            requests = [CreateRequest(), CreateRequest(key=uuid.uuid4())]
            for made in create_many(requests, caller=caller, wait=wait):
                row = Wallet.objects.get(pk=made.wallet.pk)
                self.assertEqual((row.created_by, row.tenant), ("key 7", "acme"))
                self.assertEqual(made.wallet.created_by, "key 7")
        for known in (None, uuid.uuid4()):
            row = WalletService.create(wallet_uuid=known, actor="oscar")
            row.refresh_from_db()
            self.assertEqual((row.created_by, row.tenant), ("oscar", ""))
        with self.assertRaises(InvalidInput):
            WalletService.create(actor=" ")

    def test_is_one_statement_for_plain_wallets(self):
        # Two of them begin and end the transaction inside that of the test.
        queries = {"mysql": 4, "sqlite": 3, "postgresql": 3}[connection.vendor]
        with self.assertNumQueries(queries):
            create_many([CreateRequest()] * 20)

    def test_gives_the_currency_of_the_settings(self):
        with override_settings(DEFAULT_CURRENCY="CHF"):
            found = [create_many([CreateRequest()]), create_many([CreateRequest("x")])]
        for (result,) in found:
            result.wallet.refresh_from_db()
            self.assertEqual(result.wallet.currency, "CHF")

    def test_recognises_what_it_wrote_before_the_reply_was_lost(self):
        """The whole work is run again, and must not refuse its own wallet."""
        request = CreateRequest(reference="one", key=KEY)
        work, replies = create._create_in_steps, []

        def lose_the_first_reply(*arguments: Any) -> Any:
            replies.append(work(*arguments))
            if len(replies) == 1:
                work(*arguments)
            return replies[-1]

        with mock.patch.object(create, "_create_in_steps", lose_the_first_reply):
            (result,) = create_many([request])
        self.assertFalse(result.replayed)

    def test_refuses_words_that_are_not_allowed(self):
        for words in (
            {"reference": " a"},
            {"currency": "eur"},
            {"metadata": {"a": "\0"}},
        ):
            with self.subTest(**words), self.assertRaises(InvalidInput) as got:
                WalletService.create(**words)
            self.assertEqual([got.exception.field], [*words])

    def test_takes_a_key_as_text(self):
        first, second = (
            WalletService.create(reference="one", idempotency_key=str(KEY))
            for _ in range(2)
        )
        self.assertEqual(first, second)


class CreateRaceTest(CommittingTestCase):
    def test_creates_one_wallet_for_a_key_that_many_send_at_once(self):
        request = CreateRequest(reference="one", metadata='{"a":"b"}', key=KEY)
        results = race(*[partial(create_many, [request])] * 8)
        made = {one.wallet.pk for (one,) in results}
        self.assertEqual(len(made), 1, results)
        self.assertEqual(sum(not one.replayed for (one,) in results), 1)

    def test_gives_a_reference_to_one_of_many(self):
        works = [partial(create_many, [CreateRequest("one")]) for _ in range(8)]
        results = [one for (one,) in race(*works)]
        self.assertEqual(sum(isinstance(one, CreateReceipt) for one in results), 1)
        self.assertEqual(sum(isinstance(one, ReferenceTaken) for one in results), 7)

    @marks.slow
    def test_survives_the_same_references_in_another_order(self):
        def requests(number: int) -> list[CreateRequest]:
            return [CreateRequest(f"{number} {n}", key=uuid.uuid4()) for n in range(5)]

        def judge(_asked: Any, results: list[Any]) -> None:
            for found in results:
                self.assertNotIsInstance(found, Exception)
            for pair in zip(results[0], reversed(results[1]), strict=True):
                made = sum(isinstance(one, CreateReceipt) for one in pair)
                self.assertEqual(made, 1, pair)

        def backwards(asked: list[CreateRequest]) -> Any:
            others = [one._replace(key=uuid.uuid4()) for one in asked]
            return create_many(others[::-1])

        rounds(FEW, requests, [create_many, backwards], judge)

    def test_waits_for_nobody_when_it_must_not(self):
        """A request that conflicts is asked again alone, and the others are done."""
        if connection.vendor == "sqlite":
            self.skipTest("it has one writer")
        requests = [CreateRequest("free"), CreateRequest("held"), CreateRequest()]
        found: list[Any] = []
        inserted, looked = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                Wallet.objects.create(reference="held")
                inserted.set()
                looked.wait(30)

        def look() -> None:
            inserted.wait(30)
            try:
                found.extend(create_many(requests, wait=False))
            except OperationalError as error:
                found.append(error)
            finally:
                looked.set()

        race(hold, look)
        kinds = [type(one) for one in found]
        if connection.vendor == "postgresql":
            self.assertEqual(kinds, [CreateReceipt, Busy, CreateReceipt])
        else:
            # MySQL and MariaDB cannot wait for less than a second.
            self.assertEqual(kinds[::2], [CreateReceipt, CreateReceipt])
