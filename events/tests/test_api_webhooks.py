"""The API of webhooks, through both transports."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

from django.conf import settings
from django.urls import reverse
from standardwebhooks import WebhookVerificationError

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.services.webhooks import endpoints, rotation
from events.services.webhooks.endpoints import Changes
from events.tests.webhooks import BROKEN, OK, Webhooks
from events.utils.webhook_client import Reply
from wallets.tests import marks
from wallets.tests.api import Api
from wallets.tests.asgi import AsgiClient
from wallets.tests.base import WalletTestCase
from wallets.utils import instants
from wallets.utils.database.transactions import database_now


class WebhookApiCase(Webhooks, Api, WalletTestCase):
    def made(self, **fields):
        response = self.post("/webhooks/", {"url": self.URL} | fields)
        self.assertEqual(response.status_code, 201, response.content)
        return response.json()

    def at(self, webhook, *parts):
        return f"/webhooks/{webhook['uuid']}/" + "/".join(parts)


class CreateTest(WebhookApiCase):
    def test_shows_the_secret_once(self):
        response = self.post("/webhooks/", {"url": self.URL})
        made = response.json()
        secret = made.pop("secret")
        self.assertRegex(secret, r"^whsec_[A-Za-z0-9+/]{43}=$")
        path = self.at(made)
        self.assertEqual(response.headers["Location"], "http://testserver" + path)
        self.assertEqual(response.headers["Allow"], "GET, POST, HEAD, OPTIONS")
        for shown in (self.get(path), self.get("/webhooks/"), self.get(path)):
            self.assertNotIn(secret, shown.content.decode())
        self.assertEqual(self.get(path).json(), made)
        self.assertEqual(self.get("/webhooks/").json(), [made])
        self.assertEqual(made["types"], [])
        self.assertEqual((made["enabled"], made["off_because"]), (True, None))

    def test_takes_types_and_a_description(self):
        types = ["withdrawal.completed", "deposit.completed"]
        made = self.made(types=types, description="Büro <b>1</b>")
        self.assertEqual(sorted(made["types"]), sorted(types))
        self.assertEqual(made["description"], "Büro <b>1</b>")

    def test_is_signed_with_the_secret_that_was_shown(self):
        made = self.made()
        self.pay_in(7)
        self.deliver()
        self.verify(made["secret"], self.client_.got[0])

    def test_refuses_bad_input(self):
        for body, code, field in (
            ({}, "required", "url"),
            ({"url": None}, "webhook_url_refused", "url"),
            ({"url": 5}, "webhook_url_refused", "url"),
            ({"url": ["https://a.example/"]}, "webhook_url_refused", "url"),
            ({"url": ""}, "webhook_url_refused", "url"),
            ({"url": "https://user@8.8.8.8/"}, "webhook_url_refused", "url"),
            ({"url": "ftp://8.8.8.8/"}, "webhook_url_refused", "url"),
            ({"url": "https://10.0.0.1/"}, "webhook_url_refused", "url"),
            ({"url": "https://127.1/"}, "webhook_url_refused", "url"),
            ({"url": "https://[::ffff:10.0.0.1]/"}, "webhook_url_refused", "url"),
            ({"url": "https://8.8.8.8/" + "x" * 3000}, "webhook_url_refused", "url"),
            ({"url": "https://ex\u0430mple.com/"}, "webhook_url_refused", "url"),
            ({"types": "all"}, "webhook_types_invalid", "types"),
            ({"types": None}, "webhook_types_invalid", "types"),
            ({"types": [1]}, "webhook_types_invalid", "types"),
            ({"types": ["deposit.made"]}, "webhook_types_invalid", "types"),
            ({"types": ["deposit.completed"] * 2}, "webhook_types_invalid", "types"),
            ({"types": ["x" * 5000]}, "webhook_types_invalid", "types"),
            ({"types": [str(n) for n in range(101)]}, "webhook_types_invalid", "types"),
            ({"description": 1}, "webhook_description_invalid", "description"),
            ({"description": "x" * 256}, "webhook_description_invalid", "description"),
            ({"description": "a\nb"}, "webhook_description_invalid", "description"),
            ({"description": "a\u202eb"}, "webhook_description_invalid", "description"),
            ({"description": "a\u200bb"}, "webhook_description_invalid", "description"),
            ({"enabled": False}, "unknown_field", "enabled"),
            ({"secret": "whsec_x"}, "unknown_field", "secret"),
        ):
            body = body if "url" in body or body == {} else {"url": self.URL} | body
            with self.subTest(body=str(body)[:100]):
                response = self.post("/webhooks/", body)
                self.assert_problem(response, 400, code, field)
        for body in (b"", b"[]", b"null", b'{"url":1,"url":2}', b'{"url":"\\u0000"}'):
            with self.subTest(body=body):
                self.assertEqual(self.post("/webhooks/", body).status_code, 400)
        self.assertFalse(Endpoint.objects.exists())

    def test_refuses_a_name_that_leads_inside(self):
        with self.settings(WEBHOOK_ALLOWED_NETWORKS=[]):
            for url in ("https://localhost/", "http://localhost/"):
                response = self.post("/webhooks/", {"url": url})
                self.assert_problem(response, 400, "webhook_url_refused", "url")
                # It does not say which address a name has inside.
                self.assertNotRegex(response.content.decode(), r"127\.0|::1")

    def test_refuses_a_name_without_an_address(self):
        response = self.post("/webhooks/", {"url": "https://nowhere.invalid/"})
        self.assert_problem(response, 422, "webhook_url_unresolved", "url")

    def test_has_a_limit(self):
        with self.settings(WEBHOOK_MAX_ENDPOINTS=1):
            made = self.made()
            response = self.post("/webhooks/", {"url": self.URL})
            self.assert_problem(response, 409, "too_many_webhooks")
            self.call("DELETE", self.at(made))
            self.made()


class ActorTest(WebhookApiCase):
    """Who made a webhook, and who changed it last: that of a leaked key must be found."""

    def actors(self, made):
        row = Endpoint.objects.get(uuid=made["uuid"])
        return row.created_by, row.changed_by

    def test_is_in_the_answer_and_stays(self):
        made = self.made()
        self.assertEqual(list(made)[-2:], ["created_by", "secret"])
        self.assertEqual(made["created_by"], "client")
        rotation.rotate_secret(uuid.UUID(made["uuid"]), actor="oscar")
        self.assertEqual(self.get(self.at(made)).json()["created_by"], "client")

    def test_is_whoever_changed_something(self):
        made = self.made()
        found = uuid.UUID(made["uuid"])
        for number, change in enumerate(
            (
                lambda actor: rotation.rotate_secret(found, actor=actor),
                lambda actor: endpoints.change(
                    found, Changes(description="x"), actor=actor
                ),
                lambda actor: endpoints.change(
                    found, Changes(enabled=False), actor=actor
                ),
                lambda actor: endpoints.delete(found, actor=actor),
            )
        ):
            change(f"actor {number}")
            self.assertEqual(self.actors(made), ("client", f"actor {number}"))

    def test_is_not_who_changed_nothing(self):
        made = self.made()
        endpoints.change(uuid.UUID(made["uuid"]), Changes(), actor="nobody")
        self.assertEqual(self.actors(made), ("client", "client"))

    def test_is_unknown_of_one_of_the_release_before(self):
        made = self.made()
        Endpoint.objects.update(created_by="")
        self.assertIsNone(self.get(self.at(made)).json()["created_by"])


class ChangeTest(WebhookApiCase):
    def change(self, made, **fields):
        return self.call("PATCH", self.at(made), fields)

    def test_changes_what_is_sent_and_nothing_else(self):
        made = self.made(description="first")
        made.pop("secret")
        for fields in (
            {"url": "http://127.0.0.1:9/other"},
            {"types": ["deposit.completed"]},
            {"description": "second"},
            {"enabled": False},
        ):
            made |= fields
            if "enabled" in fields:
                made["off_because"] = "switched_off"
            self.assertEqual(self.change(made, **fields).json(), made)
        self.assertEqual(self.change(made).json(), made)

    def test_goes_on_where_it_stopped(self):
        made = self.made()
        self.change(made, enabled=False)
        self.pay_in(1, 2)
        self.deliver()
        self.assertEqual(self.client_.got, [])
        self.change(made, enabled=True)
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1, 2])

    def test_sends_what_is_open_to_the_new_url_at_once(self):
        made = self.made()
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1)
        self.deliver()
        self.change(made, url="http://127.0.0.1:9/new")
        self.deliver()
        self.assertEqual(self.client_.amounts("http://127.0.0.1:9/new"), [1])
        self.assertEqual(self.get(self.at(made)).json()["failures_in_row"], 0)

    def test_refuses_bad_input(self):
        made = self.made()
        for body, code, field in (
            ({"url": "http://10.0.0.1/"}, "webhook_url_refused", "url"),
            ({"url": None}, "webhook_url_refused", "url"),
            ({"enabled": "false"}, "webhook_enabled_invalid", "enabled"),
            ({"enabled": 0}, "webhook_enabled_invalid", "enabled"),
            ({"enabled": None}, "webhook_enabled_invalid", "enabled"),
            ({"types": {}}, "webhook_types_invalid", "types"),
            ({"position": 1}, "unknown_field", "position"),
        ):
            with self.subTest(body=body):
                self.assert_problem(self.change(made, **body), 400, code, field)
        response = self.call("PATCH", self.at(made), b"")
        self.assert_problem(response, 400, "body_required")


class UnknownWebhookTest(WebhookApiCase):
    def test_is_not_found_whatever_is_asked(self):
        nobody = {"uuid": uuid.uuid4()}
        gone = self.made()
        deleted = self.call("DELETE", self.at(gone))
        self.assertEqual(deleted.json()["uuid"], gone["uuid"])
        for webhook in (nobody, gone):
            for method, parts, body in (
                ("GET", [], b""),
                ("PATCH", [], {"enabled": True}),
                ("DELETE", [], b""),
                ("POST", ["rotate-secret"], b""),
                ("POST", ["replay"], {"from": 1}),
                ("POST", ["test"], b""),
                ("GET", ["deliveries", ""], b""),
            ):
                with self.subTest(method=method, parts=parts):
                    response = self.call(method, self.at(webhook, *parts), body)
                    self.assert_problem(response, 404, "webhook_not_found")

    def test_has_no_other_path(self):
        for path in ("/webhooks/1/", "/webhooks/abc/", "/webhooks"):
            self.assert_problem(self.get(path), 404, "not_found")
        self.assert_problem(self.call("PUT", "/webhooks/"), 405, "method_not_allowed")


class RotateTest(WebhookApiCase):
    def rotate(self, made, *body):
        response = self.post(self.at(made, "rotate-secret"), *body)
        self.assertEqual(response.status_code, 200, response.content)
        return response.json()

    def assert_signed_by(self, valid, ended):
        """Deliver an event: those secrets verify it, and these do not."""
        self.pay_in(1)
        self.deliver()
        got = self.client_.got[-1]
        for made in valid:
            self.verify(made["secret"], got)
        for made in ended:
            with self.assertRaises(WebhookVerificationError):
                self.verify(made["secret"], got)

    def test_lets_two_secrets_be_valid_until_the_old_one_ends(self):
        first = self.made()
        second = self.rotate(first)
        self.assertNotEqual(first["secret"], second["secret"])
        self.pay_in(1)
        self.deliver()
        got = self.client_.got[-1]
        self.assertEqual(len(got.headers["webhook-signature"].split(" ")), 2)
        self.verify(first["secret"], got)
        self.verify(second["secret"], got)

        ends = instants.parse(second["old_secret_ends_at"])
        self.assertAlmostEqual((ends - database_now()).total_seconds(), 86400, delta=60)
        Endpoint.objects.update(old_ends_at=database_now() - timedelta(seconds=1))
        self.pay_in(2)
        self.deliver()
        got = self.client_.got[-1]
        self.assertEqual(len(got.headers["webhook-signature"].split(" ")), 1)
        self.verify(second["secret"], got)
        with self.assertRaises(WebhookVerificationError):
            self.verify(first["secret"], got)

    def test_is_refused_while_two_secrets_are_valid(self):
        """The answer may have been lost: then the receiver has the old one only."""
        first = self.made()
        second = self.rotate(first)
        for _ in range(2):
            refused = self.post(self.at(first, "rotate-secret"))
            self.assert_problem(refused, 409, "webhook_two_secrets")
            self.assertIn(second["old_secret_ends_at"], refused.json()["detail"])
        self.assert_signed_by([first, second], [])

    def test_keeps_the_old_secret_if_the_receiver_has_not_got_the_present_one(self):
        first = self.made()
        lost = [self.rotate(first)]
        for _ in range(2):
            lost.append(self.rotate(first, {"keep": "old"}))
        self.assert_signed_by([first, lost[-1]], lost[:-1])

    def test_keeps_the_present_secret_if_the_receiver_has_it(self):
        first = self.made()
        second = self.rotate(first)
        third = self.rotate(first, {"keep": "present"})
        self.assert_signed_by([second, third], [first])

    def test_gives_the_secret_that_stays_the_whole_overlap(self):
        made = self.made()
        self.rotate(made)
        for keep in ("old", "present"):
            Endpoint.objects.update(old_ends_at=database_now() + timedelta(seconds=60))
            rotated = self.rotate(made, {"keep": keep})
            ends = instants.parse(rotated["old_secret_ends_at"])
            left = (ends - database_now()).total_seconds()
            self.assertAlmostEqual(left, 86400, delta=60)

    def test_keeps_the_only_secret_whatever_is_asked_for(self):
        for keep in ("old", "present"):
            first = self.made()
            second = self.rotate(first, {"keep": keep})
            self.assert_signed_by([first, second], [])
            ended = database_now() - timedelta(seconds=1)
            Endpoint.objects.filter(deleted_at=None).update(old_ends_at=ended)
            third = self.rotate(first)
            self.assert_signed_by([second, third], [first])
            self.call("DELETE", self.at(first))

    def test_is_not_refused_where_one_of_two_secrets_cannot_be_read(self):
        first = self.made()
        keys = {"SECRET_KEY_FALLBACKS": [settings.SECRET_KEY]}
        with self.settings(SECRET_KEY="another one", **keys):
            second = self.rotate(first)
            self.assert_signed_by([first, second], [])
        third = self.rotate(first)
        self.assert_signed_by([first, third], [second])

    def test_refuses_bad_input(self):
        made = self.made()
        for body, code, field in (
            ({"keep": None}, "webhook_keep_invalid", "keep"),
            ({"keep": "new"}, "webhook_keep_invalid", "keep"),
            ({"keep": ["old"]}, "webhook_keep_invalid", "keep"),
            ({"keep": True}, "webhook_keep_invalid", "keep"),
            ({"force": True}, "unknown_field", "force"),
        ):
            with self.subTest(body=body):
                response = self.post(self.at(made, "rotate-secret"), body)
                self.assert_problem(response, 400, code, field)
        self.assertIsNone(self.get(self.at(made)).json()["old_secret_ends_at"])


class ReplayTest(WebhookApiCase):
    def replay(self, made, start):
        return self.post(self.at(made, "replay"), {"from": start})

    def test_sends_all_from_a_position_on_with_the_same_ids(self):
        made = self.made()
        self.pay_in(1, 2, 3)
        self.deliver()
        ids = [got.id for got in self.client_.got]
        position = self.client_.got[1].data["position"]
        answer = self.replay(made, position)
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(answer.json()["position"], position - 1)
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1, 2, 3, 2, 3])
        self.assertEqual([got.id for got in self.client_.got], ids + ids[1:])

    def test_sends_all_from_a_time_on(self):
        made = self.made(types=["deposit.completed"])
        self.pay_in(1, 2)
        self.deliver()
        for start in ("0001-01-01T00:00:00Z", instants.write(self.now)):
            self.client_.got.clear()
            self.replay(made, start)
            self.deliver()
            self.assertEqual(self.client_.amounts(), [1, 2])
        self.client_.got.clear()
        self.replay(made, instants.write(self.now + timedelta(hours=1)))
        self.deliver()
        self.assertEqual(self.client_.amounts(), [])

    def test_sends_at_once_what_waits_for_its_next_attempt(self):
        """Its owner replays after an outage; the receiver's wish for quiet is over."""
        made = self.made()
        for answer in (BROKEN, Reply(503, "later", retry_after="60")):
            self.client_.answers[self.URL] = answer
            self.pay_in(1)
            self.deliver()
            self.client_.answers.clear()
            self.client_.got.clear()
            self.deliver()
            self.assertEqual(self.client_.amounts(), [])
            self.replay(made, 10**9)
            self.deliver()
            self.assertEqual(self.client_.amounts(), [1])

    def test_skips_nothing_that_was_not_sent_yet(self):
        made = self.made()
        self.pay_in(1, 2, 3)
        answer = self.replay(made, 10**9)
        self.assertEqual(answer.json()["position"], made["position"])
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1, 2, 3])

    def test_refuses_bad_input(self):
        made = self.made()
        for start in (
            *(0, -1, 2**63, 10**30, 1.0, True, None, "1", "", "now", [], {}),
            "2026-01-01T00:00:00",
            "2026-02-30T00:00:00Z",
        ):
            with self.subTest(start=start):
                response = self.replay(made, start)
                self.assert_problem(response, 400, "webhook_from_invalid", "from")
        response = self.post(self.at(made, "replay"), {})
        self.assert_problem(response, 400, "required", "from")


class TestEventTest(WebhookApiCase):
    def test_is_sent_once_and_waits_for_nothing(self):
        made = self.made()
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1)
        self.deliver()
        answer = self.post(self.at(made, "test"))
        self.assertEqual(answer.json()["status"], "pending")
        self.deliver()
        event = self.verify(made["secret"], self.client_.got[-1])
        self.assertEqual(event["type"], "webhook.test")
        self.assertEqual(event["id"], answer.json()["event"])
        newest = self.get(self.at(made, "deliveries", "")).json()[0]
        self.assertEqual((newest["status"], newest["response_status"]), ("failed", 500))
        self.assertEqual(self.deliver(after=5), 0)

    def test_is_refused_while_it_is_switched_off(self):
        made = self.made()
        self.call("PATCH", self.at(made), {"enabled": False})
        response = self.post(self.at(made, "test"))
        self.assert_problem(response, 409, "webhook_off")


class DeliveriesTest(WebhookApiCase):
    def test_are_shown_with_what_came_of_them(self):
        made = self.made()
        self.pay_in(1)
        self.client_.answers[self.URL] = BROKEN
        path = self.at(made, "deliveries", "")
        self.assertEqual(self.get(path).json(), [])
        self.deliver()
        (row,) = self.get(path).json()
        self.assertEqual(row["status"], "pending")
        self.assertEqual((row["response_status"], row["response"]), (500, "no"))
        self.assertEqual((row["attempts"], row["delivered_at"]), (1, None))
        self.assertGreater(row["next_attempt_at"], row["sent_at"])
        self.client_.answers.clear()
        self.deliver(after=100)
        (row,) = self.get(path).json()
        self.assertEqual((row["status"], row["attempts"]), ("delivered", 2))
        self.assertIsNone(row["next_attempt_at"])
        told = [
            (one["attempt"], one["response_status"]) for one in row["last_attempts"]
        ]
        self.assertEqual(told, [(2, 200), (1, 500)])
        self.assertEqual(row["last_attempts"][1]["response"], "no")
        self.assertGreaterEqual(row["last_attempts"][1]["sent_at"], row["created_at"])

    def test_are_shown_with_the_one_for_which_they_wait(self):
        made = self.made(types=["deposit.completed"])
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1, 2)
        self.pay_in(3, wallet=self.bob)
        self.deliver()
        path = self.at(made, "deliveries", "")
        other, second, first = self.get(path).json()
        self.assertEqual(second["waits_for"], first["sequence"])
        self.assertIsNone(second["next_attempt_at"])
        for row in (other, first):
            self.assertIsNone(row["waits_for"])
            self.assertGreater(row["next_attempt_at"], row["sent_at"])
        self.call("PATCH", self.at(made), {"enabled": False})
        for row in self.get(path).json():
            self.assertIsNone(row["next_attempt_at"])

    def test_are_sent_next_when_the_quiet_is_over_that_a_receiver_has_asked_for(self):
        made = self.made(types=["deposit.completed"])
        later = Reply(429, "later", retry_after="500")
        self.client_.answers[self.URL] = lambda got: (
            later if got.amount == 1 else BROKEN
        )
        self.pay_in(1)
        self.pay_in(2, wallet=self.bob)
        self.deliver()
        broken, _ = self.get(self.at(made, "deliveries", "")).json()
        until = Endpoint.objects.get(uuid=made["uuid"]).quiet_until
        self.assertEqual(broken["next_attempt_at"], instants.write(until))

    def test_can_be_chosen_by_status(self):
        made = self.made()
        self.client_.answers[self.URL] = lambda got: (
            OK if got.data["type"] == "deposit.completed" else BROKEN
        )
        self.pay_in(1, 2)
        self.post(self.at(made, "test"))
        self.deliver()
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(3, 4)
        self.deliver()
        path = self.at(made, "deliveries", "")
        for status, sequences in (
            ("delivered", [3, 2]),
            ("failed", [1]),
            ("pending", [5, 4]),
        ):
            rows = self.get(f"{path}?status={status}").json()
            with self.subTest(status):
                self.assertEqual([row["sequence"] for row in rows], sequences)
                self.assertEqual({row["status"] for row in rows}, {status})
        first = self.get(f"{path}?status=pending&limit=1")
        link = first.headers["Link"].partition(";")[0].strip("<>")
        following = link.removeprefix("http://testserver")
        self.assertIn("status=pending", following)
        self.assertEqual(self.get(following).json()[0]["sequence"], 4)
        other = following.replace("status=pending", "status=delivered")
        self.assert_problem(self.get(other), 400, "cursor_invalid", "cursor")
        for status in ("", "PENDING", "open", "delivered,failed"):
            refused = self.get(f"{path}?status={status}")
            self.assert_problem(refused, 400, "parameter_invalid", "status")
        twice = self.get(f"{path}?status=pending&status=failed")
        self.assert_problem(twice, 400, "parameter_repeated", "status")

    def test_come_in_pages_newest_first(self):
        made = self.made()
        self.pay_in(1, 2, 3)
        self.deliver()
        path = self.at(made, "deliveries", "")
        first = self.get(f"{path}?limit=2")
        self.assertEqual([row["sequence"] for row in first.json()], [3, 2])
        link = first.headers["Link"].partition(";")[0].strip("<>")
        second = self.get(link.removeprefix("http://testserver"))
        self.assertEqual([row["sequence"] for row in second.json()], [1])
        for query in ("?cursor=x", "?limit=0", "?limit=101", "?status=new", "?a=b"):
            with self.subTest(query=query):
                self.assertEqual(self.get(path + query).status_code, 400)


class SecretsInLogsTest(WebhookApiCase):
    def test_are_none(self):
        with self.assertLogs(level="DEBUG") as logs:
            made = self.made()
            rotated = self.post(self.at(made, "rotate-secret")).json()
            self.pay_in(1)
            self.deliver()
        text = "\n".join(logs.output) + str([vars(one) for one in logs.records])
        for secret in (made["secret"], rotated["secret"]):
            self.assertNotIn(secret, text)
            self.assertNotIn(secret.removeprefix("whsec_"), text)
        rows = json.dumps([*Endpoint.objects.values()], default=str)
        rows += json.dumps([*Delivery.objects.values()], default=str)
        for secret in (made["secret"], rotated["secret"]):
            self.assertNotIn(secret.removeprefix("whsec_"), rows)


class PathTest(WebhookApiCase):
    def test_of_an_action_may_have_a_slash(self):
        for action in ("rotate-secret", "test"):
            for slash in ([], [""]):
                path = self.at(self.made(), action, *slash)
                self.assertEqual(self.post(path).status_code, 200)
        self.assertEqual(reverse("webhooks"), "/webhooks/")


for _case in (
    CreateTest,
    ChangeTest,
    UnknownWebhookTest,
    RotateTest,
    ReplayTest,
    TestEventTest,
    DeliveriesTest,
):
    globals()[f"Asgi{_case.__name__}"] = marks.slow(
        type(
            f"Asgi{_case.__name__}",
            (_case,),
            {"client_class": AsgiClient, "__module__": __name__},
        )
    )
del _case
