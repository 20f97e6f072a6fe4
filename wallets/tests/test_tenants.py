"""Tenants: what a caller with a tenant sees and changes, and what it cannot."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from unittest import mock

from django.db import OperationalError, connection
from django.test import SimpleTestCase, override_settings
from django.test.utils import CaptureQueriesContext

from wallets.errors import IdempotencyKeyReused
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.ledger import ledger_audit
from wallets.services.reads import tenants
from wallets.services.requests.busy import Busy
from wallets.services.transfers.transfer import TransferRequest, transfer
from wallets.services.wallet import WalletService
from wallets.services.wallets.create import CreateRequest, create_many
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.schedule import ScheduleRequest, schedule_many
from wallets.tests import marks
from wallets.tests.api import FUTURE, Api, item, nothing_written
from wallets.tests.asgi import AsgiClient
from wallets.tests.base import WalletTestCase
from wallets.tests.tenants import A, B, Walk, use_callers_by_header
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.words import NO_WORDS
from wallets.views.deposit import Asked as DepositAsked
from wallets.views.deposit import Deposit
from wallets.views.http import tenancy
from wallets.views.http.operation import Operation
from wallets.views.transfer import MakeTransfers, One
from wallets.views.wallet import CreateWallet
from wallets.views.withdraw import Withdraw

CORRECTIONS = "transactions/<correctable_id:transaction_id>/corrections"
RESCHEDULE = "transactions/<transaction_id:transaction_id>/reschedule"
FROM_A, FROM_B = Caller("key a", A), Caller("key b", B)


class Case(Api, WalletTestCase):
    """`alice` and `anna` are wallets of tenant A, `ben` of B, `bob` of none."""

    def setUp(self) -> None:
        super().setUp()
        use_callers_by_header(self)
        self.alice = WalletService.create(tenant=A)
        self.anna = WalletService.create(tenant=A, reference="anna")
        self.ben = WalletService.create(tenant=B)
        self.deposit(1000)
        self.deposit(1000, self.ben)

    def scheduled(self, wallet: Wallet, **options: Any) -> Transaction:
        when = self.after(600)
        return WithdrawalService.schedule(wallet.uuid, 5, when, **options)


@override_settings(API_CORRECTIONS=True)
class HiddenWalletTest(Walk, Case):
    application = "wallets."
    lists = {("GET", "wallets"), ("GET", "transactions")}
    others = {
        *(("POST", "wallets"), ("POST", "deposits")),
        *(("GET", "healthz"), ("GET", "readyz")),
    }

    def setUp(self) -> None:
        super().setUp()
        self.mine = {
            "wallet_uuid": self.alice.uuid,
            "other": self.anna.uuid,
            "transaction_id": self.scheduled(self.alice).pk,
            "transfer_uuid": transfer(self.alice.uuid, self.anna.uuid, 1).uuid,
        }
        self.nothing = {
            "wallet_uuid": uuid.uuid4(),
            "other": uuid.uuid4(),
            "transaction_id": self.mine["transaction_id"],
            "transfer_uuid": uuid.uuid4(),
        }

    def bodies(self, names: Mapping[str, Any]) -> Mapping[tuple[str, str], Any]:
        wallet = "wallets/<uuid:wallet_uuid>"
        ends = {"from": str(names["wallet_uuid"]), "to": str(names["other"])}
        freeze = {"direction": "both", "reason": "lost"}
        return {
            ("POST", f"{wallet}/deposit"): {"amount": 5},
            ("POST", f"{wallet}/{CORRECTIONS}"): {"amount": 1, "reason": "typed"},
            ("POST", f"{wallet}/withdraw"): {"amount": 5, "scheduled_for": FUTURE},
            ("POST", f"{wallet}/{RESCHEDULE}"): {"scheduled_for": FUTURE},
            ("POST", f"{wallet}/freeze"): freeze,
            ("POST", f"{wallet}/unfreeze"): freeze,
            ("POST", f"{wallet}/close"): {"reason": "lost"},
            ("PATCH", wallet): {"metadata": {"a": "b"}},
            ("POST", "transfers"): {**ends, "amount": 1},
        }

    @marks.slow
    def test_is_to_every_operation_as_one_that_does_not_exist(self) -> None:
        # B has no wallet with a transaction: its lists are empty.
        Wallet.objects.filter(tenant=B).update(tenant="c")
        with nothing_written():
            self.assert_hides(self.mine, self.nothing, statuses={404})

    def test_is_hidden_at_either_end_of_a_transfer(self) -> None:
        for ends, field in (
            ((self.ben, self.alice), "to"),
            ((self.alice, self.ben), "from"),
        ):
            names = dict(
                zip(("from", "to"), (str(one.uuid) for one in ends), strict=True)
            )
            answer = self.post("/transfers/", {**names, "amount": 1}, X_Test_Tenant=B)
            self.assert_problem(answer, 404, "wallet_not_found", field)

    def test_is_hidden_in_one_item_of_many(self) -> None:
        for path, items in (
            ("/deposits/", [item(self.alice), item(self.ben)]),
            (
                "/transfers/",
                [
                    {
                        "from": str(source.uuid),
                        "to": str(self.carol().uuid),
                        "amount": 1,
                        "idempotency_key": str(uuid.uuid4()),
                    }
                    for source in (self.alice, self.ben)
                ],
            ),
        ):
            body = str(items).replace("'", '"')
            refused, done = self.post(path, body, X_Test_Tenant=B).json()
            with self.subTest(path):
                self.assertEqual(refused["problem"]["code"], "wallet_not_found")
                self.assertEqual(done["result"], "done", done)

    def carol(self) -> Wallet:
        return WalletService.create(tenant=B)

    def test_is_hidden_in_a_statement_as_csv(self) -> None:
        path = self.path("statement/")
        hidden = self.get(path, Accept="text/csv", X_Test_Tenant=B)
        self.assert_problem(hidden, 404, "wallet_not_found")
        shown = self.get(path, Accept="text/csv", X_Test_Tenant=A)
        self.assertEqual(shown.status_code, 200)

    @marks.slow
    def test_is_shown_to_its_tenant_and_to_an_unlimited_caller(self) -> None:
        # The last operation closes the wallet, so refusals for its life are expected.
        self.assert_shows(self.mine)

    def test_hides_a_transfer_with_one_end_in_another_tenant(self) -> None:
        made = transfer(self.alice.uuid, self.ben.uuid, 1)
        for tenant in (A, B):
            answer = self.get(f"/transfers/{made.uuid}/", X_Test_Tenant=tenant)
            self.assert_problem(answer, 404, "transfer_not_found")


@marks.slow
class AsgiHiddenWalletTest(HiddenWalletTest):
    client_class = AsgiClient


class TenantTest(Case):
    """What belongs to a tenant."""

    def found(self, path: str, tenant: str) -> list[Any]:
        answer = self.get(path, X_Test_Tenant=tenant)
        self.assertEqual(answer.status_code, 200, answer.content)
        return [one.get("uuid", one.get("wallet")) for one in answer.json()]

    def test_has_the_wallets_that_it_creates(self) -> None:
        for body in (b"", {"reference": "x"}):
            made = self.post("/wallets/", body, X_Test_Tenant=B).json()
            wallet = Wallet.objects.get(uuid=made["uuid"])
            self.assertEqual(wallet.tenant, B)

    def test_lists_its_own_wallets_and_transactions(self) -> None:
        alice, anna = str(self.alice.uuid), str(self.anna.uuid)
        self.assertEqual(self.found("/wallets/", A), [anna, alice])
        self.assertEqual(self.found("/wallets/?reference=anna", B), [])
        self.assertEqual(self.found("/transactions/", A), [alice])
        self.assertEqual(self.found("/transactions/?type=DEPOSIT", A), [alice])
        self.assertEqual(len(self.found("/wallets/", "")), 5)

    def test_lists_transactions_of_a_reference_that_others_use(self) -> None:
        words = NO_WORDS._replace(reference="rent")
        for wallet in (self.alice, self.ben):
            WalletService.deposit(wallet.uuid, 1, words=words)
        found = self.found("/transactions/?reference=rent", A)
        self.assertEqual(found, [str(self.alice.uuid)])

    def test_has_references_of_its_own(self) -> None:
        made = self.post("/wallets/", {"reference": "anna"}, X_Test_Tenant=B)
        self.assertEqual(made.status_code, 201)
        again = self.post("/wallets/", {"reference": "anna"}, X_Test_Tenant=A)
        self.assert_problem(again, 409, "reference_taken")
        taken = {"reference": "anna"}
        changed = self.call("PATCH", self.path(), taken, X_Test_Tenant=A)
        self.assert_problem(changed, 409, "reference_taken")
        WalletService.change(self.bob.uuid, {"reference": "anna"})

    def test_is_written_with_the_actor_into_what_a_caller_does(self) -> None:
        named = {"X_Test_Tenant": A, "X_Test_Actor": "key 7"}
        when = {"amount": 5, "scheduled_for": FUTURE}
        self.post(self.path("deposit"), {"amount": 5}, **named)
        pk = self.post(self.path("withdraw"), when, **named).json()["id"]
        later = {"scheduled_for": "2030-02-01T00:00:00Z"}
        self.post(self.path("transactions", pk, "reschedule"), later, **named)
        self.post(self.path("transactions", pk, "cancel"), **named)
        ends = {"from": str(self.alice.uuid), "to": str(self.anna.uuid), "amount": 1}
        self.post("/transfers/", ends, **named)
        self.call("PATCH", self.path(), {"metadata": {"a": "b"}}, **named)
        rows = Transaction.objects.filter(tenant=A)
        self.assertEqual(rows.count(), 4)
        self.assertEqual(set(rows.values_list("actor", flat=True)), {"key 7"})
        transitions = Transaction.objects.get(pk=pk).transitions
        self.assertEqual(set(transitions.values_list("actor", flat=True)), {"key 7"})
        self.assertEqual(WalletChange.objects.get().actor, "key 7")

    def test_is_written_with_the_actor_into_the_wallets_that_a_caller_creates(
        self,
    ) -> None:
        named = {"X_Test_Tenant": A, "X_Test_Actor": "key 7"}
        for body in (b"", {"reference": "with a name"}):
            answer = self.post("/wallets/", body, **named)
            self.assertEqual(answer.status_code, 201, answer.content)
            self.assertNotIn("key 7", answer.content.decode())
            made = Wallet.objects.get(uuid=answer.json()["uuid"])
            self.assertEqual((made.tenant, made.created_by), (A, "key 7"))
        by_nobody = self.post("/wallets/").json()["uuid"]
        self.assertEqual(Wallet.objects.get(uuid=by_nobody).created_by, "client")


class KeyOfTenantTest(Case):
    """Two tenants use one UUID."""

    def both(
        self, operation: Operation[Any, Any], asked: Sequence[Any], *, wait: bool
    ) -> list[Any]:
        """Make the call of A and that of B, and then A's again, in one batch."""
        calls = [
            tenancy.Asked(caller, call)
            for caller, call in zip(
                (FROM_A, FROM_B, FROM_A), (*asked, asked[0]), strict=True
            )
        ]
        return list(tenancy.serve(operation, calls, wait=wait))

    def test_for_every_kind_of_request_in_one_batch(self) -> None:
        carol = WalletService.create(tenant=B)
        when = self.after(600)
        kinds: tuple[tuple[Operation[Any, Any], Any], ...] = (
            (
                Deposit(),
                lambda key, mine, _: DepositAsked(DepositRequest(mine, 5, key), key),
            ),
            (Withdraw(), lambda key, mine, _: ScheduleRequest(mine, 5, when, key)),
            (
                MakeTransfers(),
                lambda key, mine, to: One(TransferRequest(mine, to, 5, key), key),
            ),
            (CreateWallet(), lambda key, *_: CreateRequest("name", key=key)),
        )
        for wait in (True, False):
            for operation, ask in kinds:
                key = uuid.uuid4()
                asked = (
                    ask(key, self.alice.uuid, self.anna.uuid),
                    ask(key, self.ben.uuid, carol.uuid),
                )
                if isinstance(operation, CreateWallet):
                    asked = tuple(
                        one._replace(reference=f"{wait} {n}")
                        for n, one in enumerate(asked)
                    )
                with self.subTest(type(operation).__name__, wait=wait):
                    results = self.both(operation, asked, wait=wait)
                    again = [getattr(one, "replayed", one) for one in results]
                    self.assertEqual(again, [False, False, True])

    def test_for_deposits_of_one_request(self) -> None:
        key = uuid.uuid4()
        for wallet, tenant in ((self.alice, A), (self.ben, B)):
            body = str([item(wallet, 5, key)] * 2).replace("'", '"')
            first, again = self.post("/deposits/", body, X_Test_Tenant=tenant).json()
            self.assertEqual(first["result"], "done", first)
            self.assertEqual(again["result"], "replayed", again)

    def test_and_each_gets_its_own_answer_again(self) -> None:
        key = uuid.uuid4()
        for _ in range(2):
            for wallet, caller, amount in (
                (self.alice, FROM_A, 1),
                (self.ben, FROM_B, 2),
                (self.bob, ANYBODY, 3),
            ):
                request = DepositRequest(wallet.uuid, amount, key)
                (made,) = deposit_many([request], caller=caller)
                assert not isinstance(made, Exception), made
                row = Transaction.objects.get(pk=made.transaction_id)
                self.assertEqual(made.transaction, row)
                self.assertEqual((row.tenant, row.actor), (caller.tenant, caller.actor))
        self.assertEqual(Transaction.objects.filter(idempotency_key=key).count(), 3)

    def test_but_not_for_withdrawals_of_one_wallet(self) -> None:
        """The bank's references are derived from key and wallet."""
        key = uuid.uuid4()
        self.scheduled(self.alice, idempotency_key=key, caller=FROM_A)
        for wait in (True, False):
            request = ScheduleRequest(self.alice.uuid, 5, self.after(600), key)
            (refused,) = schedule_many([request], wait=wait)
            self.assertIsInstance(refused, IdempotencyKeyReused)

    def test_and_a_key_stands_for_one_request_of_each(self) -> None:
        key = uuid.uuid4()
        (made,) = create_many([CreateRequest("x", key=key)], caller=FROM_A)
        self.scheduled(self.ben, idempotency_key=key, caller=FROM_B)
        (refused,) = create_many([CreateRequest("y", key=key)], caller=FROM_B)
        self.assertNotIsInstance(made, Exception)
        self.assertIsInstance(refused, IdempotencyKeyReused)


class TenantAuditTest(Case):
    books_must_be_right = False

    def test_finds_a_transaction_of_another_tenant(self) -> None:
        made = Transaction.objects.filter(wallet=self.alice)
        pk = made.values_list("pk", flat=True)[0]
        for tenant, wrong in ((A, 0), ("", 0), (B, 1)):
            made.update(tenant=tenant)
            found = [one for one in ledger_audit.verify() if one.check == "tenant"]
            self.assertEqual([one.row for one in found], [f"transaction {pk}"] * wrong)

    def test_finds_a_withdrawal_whose_key_another_may_have(self) -> None:
        made = self.scheduled(self.alice)
        rows = Transaction.objects.filter(pk=made.pk)
        for marked, wrong in ((True, 0), (False, 1)):
            rows.update(from_tenants_wallet=marked)
            found = [
                one.row
                for one in ledger_audit.verify()
                if one.check == "from_tenants_wallet"
            ]
            self.assertEqual(found, [f"transaction {made.pk}"] * wrong)


class KnownTenantTest(Case):
    """The tenants of wallets that a process keeps."""

    def setUp(self) -> None:
        super().setUp()
        self._enter(mock.patch.object(tenants, "_kept", tenants.OrderedDict()))

    def _enter(self, context: Any) -> None:
        context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)

    def test_are_read_once_and_together(self) -> None:
        wallets = [self.alice.uuid, self.ben.uuid, self.bob.uuid]
        with CaptureQueriesContext(connection) as asked:
            self.assertEqual(
                tenancy.hidden(FROM_A, wallets), {self.ben.uuid, self.bob.uuid}
            )
        # Beside savepoints, which stand for a transaction of its own.
        reads = [one for one in asked if "SELECT" in one["sql"]]
        self.assertEqual(len(reads), 1)
        with self.assertNumQueries(0):
            self.assertEqual(tenancy.hidden(FROM_B, wallets[:1]), {self.alice.uuid})

    def test_are_not_read_for_an_unlimited_caller(self) -> None:
        with self.assertNumQueries(0):
            self.assertEqual(tenancy.hidden(ANYBODY, [self.alice.uuid]), set())

    def test_are_not_kept_of_a_wallet_that_does_not_exist(self) -> None:
        later = uuid.uuid4()
        self.assertEqual(tenancy.hidden(FROM_A, [later]), {later})
        WalletService.create(wallet_uuid=later, tenant=A)
        self.assertEqual(tenancy.hidden(FROM_A, [later]), set())

    def test_are_kept_in_a_bounded_number(self) -> None:
        with mock.patch.object(tenants, "MOST_KEPT", 2):
            tenants.tenants_of([self.alice.uuid])
            tenants.tenants_of([self.ben.uuid, self.bob.uuid])
            tenants.tenants_of([self.anna.uuid])
            self.assertEqual(len(tenants._kept), 2)


class Echo(Operation[str, str]):
    """Answers with its call; what begins with "bad" fails."""

    error: Exception = RuntimeError("of one caller")

    def read(self, request: Any, query: Any) -> str:
        return ""

    def wallets_of(self, call: str) -> Collection[uuid.UUID]:
        return ()

    def many(self, calls: Sequence[str], *, caller: Caller, wait: bool) -> list[str]:
        if any(call.startswith("bad") for call in calls):
            raise self.error
        return [f"{caller.actor} {call}" for call in calls]

    def write(self, request: Any, call: str, result: str) -> Any:
        return None


class CallersOfOneBatchTest(SimpleTestCase):
    def served(self, *calls: tuple[str, str]) -> list[Any]:
        asked = [tenancy.Asked(Caller(actor), call) for actor, call in calls]
        return list(tenancy.serve(Echo(), asked, wait=False))

    def test_get_their_own_answers_in_order(self) -> None:
        found = self.served(("a", "1"), ("b", "2"), ("a", "3"))
        self.assertEqual(found, ["a 1", "b 2", "a 3"])

    def test_do_not_fail_with_another(self) -> None:
        """The calls of the others may have been done, and must not be done again."""
        with self.assertLogs(tenancy.logger, "WARNING"):
            first, second, third = self.served(("a", "bad"), ("b", "2"), ("a", "3"))
        self.assertEqual(second, "b 2")
        for one in (first, third):
            self.assertIsInstance(one, Busy)

    def test_do_not_lose_the_database_with_another(self) -> None:
        with mock.patch.object(Echo, "error", OperationalError("gone")):
            first, second = self.served(("a", "bad"), ("b", "2"))
        self.assertIsInstance(first, OperationalError)
        self.assertEqual(second, "b 2")
