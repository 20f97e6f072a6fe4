"""The feed and the webhooks of a caller with a tenant."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from unittest import mock

from django.test import override_settings

from events.models.endpoint import Endpoint
from events.services import feed
from events.services.feed import FeedRequest
from events.tests.webhooks import Webhooks, make_events
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.transfers.transfer import transfer
from wallets.services.wallet import WalletService
from wallets.tests import marks
from wallets.tests.api import Api
from wallets.tests.asgi import AsgiClient
from wallets.tests.base import WalletTestCase
from wallets.tests.tenants import A, B, Walk, use_callers_by_header
from wallets.utils.caller import ANYBODY, Caller


class Case(Webhooks, Api, WalletTestCase):
    """`alice` is a wallet of tenant A, `ben` of B, `bob` of none."""

    def setUp(self) -> None:
        super().setUp()
        use_callers_by_header(self)
        self.alice = WalletService.create(tenant=A)
        self.ben = WalletService.create(tenant=B)
        self.pay_in(7)
        self.pay_in(9, wallet=self.ben)

    def webhook(self, tenant: str, **fields: Any) -> dict[str, Any]:
        answer = self.post(
            "/webhooks/", {"url": self.URL} | fields, X_Test_Tenant=tenant
        )
        self.assertEqual(answer.status_code, 201, answer.content)
        made: dict[str, Any] = answer.json()
        return made


class HiddenWebhookTest(Walk, Case):
    application = "events."
    lists = {("GET", "webhooks")}
    others = {("POST", "webhooks"), ("GET", "events")}

    def bodies(self, names: Mapping[str, Any]) -> Mapping[tuple[str, str], Any]:
        webhook = "webhooks/<uuid:webhook_uuid>"
        return {
            ("POST", "webhooks"): {"url": self.URL},
            ("PATCH", webhook): {"description": "mine"},
            ("POST", f"{webhook}/replay"): {"from": 1},
        }

    def test_is_to_every_operation_as_one_that_does_not_exist(self) -> None:
        mine = {"webhook_uuid": self.webhook(A)["uuid"]}
        before = Endpoint.objects.values().get()
        nothing = {"webhook_uuid": uuid.UUID(int=0)}
        for method, route in self.routes():
            key = method, route.name.rstrip("/")
            if key in self.others:
                continue
            hidden = self.ask(method, route, mine, B)
            with self.subTest(key):
                if key in self.lists:
                    self.assertEqual(hidden.json(), [])
                    continue
                self.assert_problem(hidden, 404, "webhook_not_found")
                unknown = self.ask(method, route, nothing, B)
                named = hidden.content.decode().replace(
                    mine["webhook_uuid"], str(nothing["webhook_uuid"])
                )
                self.assertEqual(named, unknown.content.decode())
        self.assertEqual(Endpoint.objects.values().get(), before)

    def test_is_shown_to_an_unlimited_caller(self) -> None:
        made = [self.webhook(A)["uuid"], self.webhook("")["uuid"]]
        shown = [one["uuid"] for one in self.get("/webhooks/").json()]
        self.assertEqual(shown, made)


@marks.slow
class AsgiHiddenWebhookTest(HiddenWebhookTest):
    client_class = AsgiClient


class RoomOfTenantTest(Case):
    """How many webhooks there may be: one tenant does not lock the others out."""

    def refused(self, tenant: str, setting: str) -> None:
        answer = self.post("/webhooks/", {"url": self.URL}, X_Test_Tenant=tenant)
        self.assert_problem(answer, 409, "too_many_webhooks")
        self.assertIn(setting, answer.json()["detail"])

    @override_settings(WEBHOOK_MAX_ENDPOINTS=2)
    def test_is_its_own(self) -> None:
        for tenant in (A, B, ""):
            made = [self.webhook(tenant) for _ in range(2)]
            self.refused(tenant, "WEBHOOK_MAX_ENDPOINTS")
            path = f"/webhooks/{made[0]['uuid']}/"
            self.call("DELETE", path, X_Test_Tenant=tenant)
            self.webhook(tenant)
            self.refused(tenant, "WEBHOOK_MAX_ENDPOINTS")

    @override_settings(WEBHOOK_MAX_TOTAL=3)
    def test_ends_where_all_tenants_together_have_too_many(self) -> None:
        for tenant in (A, B, ""):
            self.webhook(tenant)
        for tenant in (A, B, ""):
            self.refused(tenant, "WEBHOOK_MAX_TOTAL")


@marks.slow
class AsgiRoomOfTenantTest(RoomOfTenantTest):
    client_class = AsgiClient


class EventsOfTenantTest(Case):
    def wallets(self, query: str = "", tenant: str = A) -> set[str]:
        answer = self.get(f"/events/{query}", X_Test_Tenant=tenant)
        self.assertEqual(answer.status_code, 200, answer.content)
        return {one["wallet"] for one in answer.json()}

    def test_are_those_of_its_wallets(self) -> None:
        everybody = {str(one.uuid) for one in (self.alice, self.bob, self.ben)}
        for query in ("", "?type=deposit.completed", "?limit=1"):
            self.assertEqual(self.wallets(query), {str(self.alice.uuid)}, query)
        self.assertLessEqual(everybody, self.wallets(tenant=""))

    def test_name_who_created_the_wallet(self) -> None:
        named = {"X_Test_Tenant": A, "X_Test_Actor": "key 7"}
        made = self.post("/wallets/", **named).json()["uuid"]
        make_events()
        (event,) = self.get(f"/events/?wallet={made}", **named).json()
        self.assertEqual(event["type"], "wallet.created")
        self.assertEqual(event["data"]["actor"], "key 7")

    def test_are_of_no_wallet_of_another_tenant(self) -> None:
        for wallet in (self.alice.uuid, uuid.uuid4()):
            answer = self.get(f"/events/?wallet={wallet}", X_Test_Tenant=B)
            self.assert_problem(answer, 404, "wallet_not_found")
        own = f"?wallet={self.ben.uuid}"
        self.assertEqual(self.wallets(own, B), {str(self.ben.uuid)})

    def test_are_looked_for_in_a_bounded_number_of_rows(self) -> None:
        with mock.patch.object(feed, "SCAN", 2):
            page = feed.page(FeedRequest(tenant="nobody"))
            self.assertEqual((page.records, page.after), ([], 2))
            found = []
            after = 0
            while (page := feed.page(FeedRequest(after, tenant=B))).after > after:
                found += page.records
                after = page.after
        kinds = [one.type for one in found]
        self.assertEqual(kinds, ["wallet.created", "deposit.completed"])

    def test_are_sent_to_its_webhooks_only(self) -> None:
        for tenant in (A, B, ""):
            self.webhook(tenant, url=f"{self.URL}/{tenant}")
        self.pay_in(1)
        self.pay_in(2, wallet=self.ben)
        self.pay_in(3, wallet=self.bob)
        self.deliver()
        sent = {
            tenant: self.client_.amounts(f"{self.URL}/{tenant}")
            for tenant in (A, B, "")
        }
        self.assertEqual(sent, {A: [1], B: [2], "": [1, 2, 3]})

    def test_have_ids_of_their_own_if_an_unlimited_caller_uses_the_same_key(self):
        key = uuid.uuid4()
        for caller in (Caller("key 7", A), ANYBODY):
            deposit_many([DepositRequest(self.alice.uuid, 5, key)], caller=caller)
        make_events()
        *_, one, other = feed.read(0, 100)
        self.assertEqual(one.data["idempotency_key"], other.data["idempotency_key"])
        self.assertNotEqual(one.id, other.id)

    def test_name_the_actor(self) -> None:
        caller = Caller("key 7", A)
        anna = WalletService.create(tenant=A)
        deposit_many([DepositRequest(self.alice.uuid, 5, uuid.uuid4())], caller=caller)
        transfer(self.alice.uuid, anna.uuid, 1, caller=caller)
        make_events()
        *_, deposit, paid, got = feed.read(0, 100)
        for one in (deposit, paid, got):
            self.assertEqual(one.data["actor"], "key 7", one)
