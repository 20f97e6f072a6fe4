"""A process of the API is killed during a full batch, while other requests wait.

Then every client repeats its request with its key: each has exactly one effect.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import uuid
from collections import Counter
from datetime import timedelta
from pathlib import Path

from django.db import connection

from drills import services
from drills.process import wait_until
from wallets.models.transaction import Transaction
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, database_environment
from wallets.tests.builders import wallet_with
from wallets.views.http.operation import Operation

PATIENCE = 60
CLIENTS = 100  # of each operation: more than one batch has
# The type of the transaction that has the client's key.
TYPES = {"deposit": "DEPOSIT", "withdraw": "WITHDRAWAL", "transfer": "TRANSFER_OUT"}


class Client:
    """A client that repeats one change of a wallet with one key."""

    def __init__(self, path: str, body: dict[str, object]) -> None:
        self.key = uuid.uuid4()
        self._path = path
        self._body = json.dumps(body)
        self._fields = {
            "Content-Type": "application/json",
            "Idempotency-Key": str(self.key),
        }

    def send(self, port: int) -> None:
        """Send the request, and do not wait for the answer."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, PATIENCE)
        self._connection.request("POST", self._path, self._body, self._fields)

    def answer(self) -> tuple[int, bytes, bool] | None:
        """Return status, body and whether it is a replay; None without an answer."""
        try:
            answer = self._connection.getresponse()
            replayed = answer.getheader("Idempotent-Replayed") == "true"
            return answer.status, answer.read(), replayed
        except (OSError, http.client.HTTPException):
            return None
        finally:
            self._connection.close()


@marks.slow
@marks.timeout(300)
class KilledApiTest(CommittingTestCase):
    """A key has one effect when the process is killed…"""

    def setUp(self) -> None:
        super().setUp()
        due = (self.now + timedelta(days=1)).isoformat()
        wallets = [self.alice.uuid, self.bob.uuid]
        self.pair = [wallet_with(CLIENTS) for _ in range(2)]
        pair = [str(wallet.uuid) for wallet in self.pair]
        self.clients = {
            "deposit": [
                Client(f"/wallets/{wallets[n % 2]}/deposit", {"amount": 1})
                for n in range(CLIENTS)
            ],
            "withdraw": [
                Client(
                    f"/wallets/{wallets[n % 2]}/withdraw",
                    {"amount": 1, "scheduled_for": due},
                )
                for n in range(CLIENTS)
            ],
            "transfer": [
                Client(
                    "/transfers/",
                    {"from": pair[n % 2], "to": pair[(n + 1) % 2], "amount": 1},
                )
                for n in range(CLIENTS)
            ],
        }
        self.everybody = [one for some in self.clients.values() for one in some]

    def start_api(self, operation: str, phase: str) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.mark = Path(folder.name) / "mark"
        own = {
            "CELERY_BROKER_URL": "memory://",
            "WEB_CONCURRENCY": "1",
            "KILL_OPERATION": operation,
            "KILL_PHASE": phase,
            "KILL_CLIENTS": str(len(self.everybody)),
            "KILL_MARK": str(self.mark),
        }
        self.api = services.Api(
            services.environment(database_environment() | own),
            Path(folder.name),
            "drills.killed_api:application",
        )
        self.addCleanup(self.api.end)
        self.api.start()

    def effects(self, operation: str) -> set[uuid.UUID]:
        """Return this operation's keys with an effect; check that each has one."""
        kind = TYPES[operation]
        keys = {client.key for client in self.clients[operation]}
        found = Counter(
            Transaction.objects.filter(
                transaction_type=kind, idempotency_key__in=keys
            ).values_list("idempotency_key", flat=True)
        )
        self.assertLessEqual(set(found.values()), {1})
        return set(found)

    def live(self, operation: str, phase: str) -> None:
        """Let the process be killed in this phase; repeat the requests, and check."""
        self.start_api(operation, phase)
        for client in self.everybody:
            client.send(self.api.port)
        first = {client.key: client.answer() for client in self.everybody}
        batch = {uuid.UUID(key) for key in self.mark.read_text().split()}
        before = self.effects(operation)
        self.assertEqual(len(batch), Operation.max_batch)
        self.assertFalse(batch & {key for key, told in first.items() if told})
        waited = [one for one in self.clients[operation] if not first[one.key]]
        self.assertGreater(len(waited), len(batch), "nobody else waited")
        whole = len(batch)
        made = {"before": [0], "commit": [0, whole], "after": [whole]}
        if connection.vendor == "mysql":
            # A request for a locked wallet is repeated alone.
            made["after"] = [*range(whole + 1)]
        self.assertIn(len(before & batch), made[phase])

        wait_until(self.api.answers, seconds=PATIENCE, what="the next process")
        for name, clients in self.clients.items():
            for client in clients:
                client.send(self.api.port)
                answer = client.answer()
                assert answer is not None
                status, body, replayed = answer
                self.assertEqual(status, 200 if name == "deposit" else 201, body)
                if name == operation:
                    self.assertEqual(replayed, client.key in before)
                if told := first[client.key]:
                    self.assertEqual((status, body, True), (*told[:2], replayed))
            self.assertEqual(self.effects(name), {client.key for client in clients})
        self.assert_money(self.alice, balance=CLIENTS // 2)
        self.assert_money(self.bob, balance=CLIENTS // 2)
        for wallet in self.pair:
            self.assert_money(wallet, balance=CLIENTS)

    def test_with_a_batch_of_deposits(self) -> None:
        self.live("deposit", "before")

    def test_with_a_batch_of_deposits_before_commit(self) -> None:
        self.live("deposit", "commit")

    def test_with_a_batch_of_deposits_that_was_not_answered(self) -> None:
        self.live("deposit", "after")

    def test_with_a_batch_of_transfers(self) -> None:
        self.live("transfer", "before")

    def test_with_a_batch_of_transfers_before_commit(self) -> None:
        self.live("transfer", "commit")

    def test_with_a_batch_of_transfers_that_was_not_answered(self) -> None:
        self.live("transfer", "after")

    def test_with_a_batch_of_withdrawals(self) -> None:
        self.live("withdraw", "before")

    def test_with_a_batch_of_withdrawals_before_commit(self) -> None:
        self.live("withdraw", "commit")

    def test_with_a_batch_of_withdrawals_that_was_not_answered(self) -> None:
        self.live("withdraw", "after")
