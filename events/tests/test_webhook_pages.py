"""The pages of webhooks in the console: what is seen, who may act, and what it does."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import Permission
from django.urls import reverse

from console.tests.base import ConsoleTestCase, staff
from events.models.delivery import Delivery
from events.services.webhooks import endpoints, rotation, switch
from events.services.webhooks.endpoints import Changes
from events.tests.webhooks import BROKEN, GONE, Webhooks
from events.utils.webhook_client import Reply
from wallets.models.alarm import Alarm


class PageTestCase(Webhooks, ConsoleTestCase):
    def setUp(self):
        super().setUp()
        self.webhook = self.endpoint(description="<b>Büro</b>").endpoint

    def page(self, name, *more):
        return self.client.get(self.path(name, *more))

    def path(self, name, *more):
        args = [] if name == "webhooks" else [self.webhook.uuid, *more]
        return reverse(f"webhook_pages:{name}", args=args)

    def press(self, name, *more):
        return self.client.post(self.path(name, *more), follow=True)


class WebhookPageTest(PageTestCase):
    def test_is_led_to_by_the_navigation(self):
        answer = self.client.get(reverse("console:alarms"))
        self.assertContains(answer, '<a href="/console/webhooks">Webhooks</a>')
        answer = self.page("webhooks")
        self.assertContains(
            answer, '<a href="/console/webhooks" aria-current="page">Webhooks</a>'
        )

    def test_shows_all_webhooks_and_escapes_what_clients_wrote(self):
        answer = self.page("webhooks")
        self.assertContains(answer, self.URL)
        self.assertContains(answer, "&lt;b&gt;Büro&lt;/b&gt;")

    def test_shows_deliveries_with_request_and_answer(self):
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(12_345)
        self.deliver()
        self.assertContains(self.page("webhook"), "Failed, will retry")
        answer = self.page("delivery", 1)
        self.assertContains(answer, "&quot;amount&quot;: 12345")
        self.assertContains(answer, "HTTP 500")
        self.assertContains(answer, "Send now")
        self.client_.answers.clear()
        self.deliver(after=100)
        answer = self.page("delivery", 1)
        self.assertContains(answer, "Delivered")
        self.assertContains(answer, "Last attempts")
        self.assertContains(answer, '<td data-label="Answer">500', html=False)

    def test_shows_for_which_event_another_one_waits(self):
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1, 2)
        self.deliver()
        self.assertContains(self.page("webhook"), "after 1")
        self.assertContains(self.page("delivery", 2), "an earlier event of its wallet")
        self.assertNotContains(self.page("delivery", 1), "an earlier event")
        endpoints.change(self.webhook.uuid, Changes(enabled=False), actor="oscar")
        self.assertContains(self.page("delivery", 1), "none while the webhook is off")

    def test_escapes_what_receivers_have_answered(self):
        said = "<script>alert(1)</script>"
        self.client_.answers[self.URL] = Reply(500, said)
        self.pay_in(1)
        self.deliver()
        self.client_.answers.clear()
        self.deliver(after=100)
        answer = self.page("delivery", 1)
        self.assertNotContains(answer, said)
        self.assertContains(answer, "&lt;script&gt;alert(1)&lt;/script&gt;")

    def test_shows_who_made_and_changed_it_and_finds_the_webhooks_of_an_actor(self):
        other = self.endpoint("http://127.0.0.1:9/b").endpoint
        rotation.rotate_secret(other.uuid, actor="leaked <key>")
        for page in (
            self.page("webhooks"),
            self.client.get(reverse("webhook_pages:webhook", args=[other.uuid])),
        ):
            self.assertContains(page, "client")
            self.assertContains(page, "leaked &lt;key&gt;")
        found = self.client.get(self.path("webhooks"), {"actor": "Leaked"})
        self.assertContains(found, "http://127.0.0.1:9/b")
        self.assertNotContains(found, self.URL)
        nobody = self.client.get(self.path("webhooks"), {"actor": "nobody"})
        self.assertContains(nobody, "Nobody of this name")

    def test_shows_the_tenant(self):
        self.assertNotContains(self.page("webhook"), "<dt>Tenant</dt>")
        made = self.endpoint("http://127.0.0.1:9/b", tenant="<i>shop</i>").endpoint
        answer = self.client.get(reverse("webhook_pages:webhook", args=[made.uuid]))
        for page in (answer, self.page("webhooks")):
            self.assertContains(page, "&lt;i&gt;shop&lt;/i&gt;")
            self.assertNotContains(page, "<i>shop</i>")

    def test_shows_no_secret(self):
        made = self.endpoint("http://127.0.0.1:9/b")
        answer = self.client.get(
            reverse("webhook_pages:webhook", args=[made.endpoint.uuid])
        )
        self.assertNotContains(answer, made.secret.removeprefix("whsec_"))
        self.assertNotContains(answer, made.endpoint.secret_seed)

    def test_comes_in_pages(self):
        self.pay_in(*range(1, 53))
        self.deliver()
        answer = self.page("webhook")
        self.assertContains(answer, "?before=3")
        earlier = self.client.get(self.path("webhook") + "?before=3")
        self.assertNotContains(earlier, "?before=")
        for text in ("x", "-1", "9" * 30, "\u0665"):
            answer = self.client.get(self.path("webhook"), {"before": text})
            self.assertEqual(answer.status_code, 200)

    def test_reloads_when_the_delivery_changes(self):
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1)
        self.deliver()
        seen = self.page("delivery", 1).context["seen"]
        path, htmx = self.path("delivery", 1), {"HX-Request": "true"}
        answer = self.client.get(path, {"seen": seen}, headers=htmx)
        self.assertEqual(answer.status_code, 204)
        self.deliver(after=100)
        answer = self.client.get(path, {"seen": seen}, headers=htmx)
        self.assertEqual(answer.headers["HX-Refresh"], "true")

    def test_is_not_there_for_what_is_not_there(self):
        nobody = uuid.uuid4()
        for path in (
            reverse("webhook_pages:webhook", args=[nobody]),
            reverse("webhook_pages:delivery", args=[nobody, 1]),
            self.path("delivery", 1),
            self.path("delivery", 2**70),
            "/console/webhooks/1",
        ):
            with self.subTest(path=path):
                answer = self.client.get(path)
                self.assertContains(answer, "There is no", status_code=404)

    def test_explains_its_alarms(self):
        self.client_.answers[self.URL] = GONE
        self.pay_in(1)
        self.deliver()
        self.assertEqual(Alarm.objects.get().kind, switch.SWITCHED_OFF)
        answer = self.client.get(reverse("console:alarms"))
        self.assertContains(answer, "A webhook is switched off")


class ActionTest(PageTestCase):
    def test_sends_a_test_event(self):
        answer = self.press("test")
        self.assertContains(answer, "A test event is on its way.")
        self.deliver()
        self.assertEqual(self.client_.got[-1].data["type"], "webhook.test")

    def test_sends_an_event_again_with_its_id(self):
        self.pay_in(1, 2)
        self.deliver()
        answer = self.press("again", 1)
        self.assertContains(answer, "with the same id")
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1, 2, 1])
        self.assertEqual(self.client_.got[0].id, self.client_.got[2].id)

    def test_sends_what_waits_for_a_retry_now(self):
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1)
        self.deliver()
        self.press("again", 1)
        self.client_.answers.clear()
        self.assertEqual(self.deliver(), 1)
        self.assertEqual(Delivery.objects.count(), 1)

    def test_sends_nothing_out_of_the_order_of_a_wallet(self):
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1, 2)
        self.deliver()
        self.press("again", 2)
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1])

    def test_switches_off_and_on(self):
        self.assertContains(self.press("off"), "It keeps its place.")
        self.pay_in(1)
        self.assertEqual(self.deliver(), 0)
        self.assertContains(self.press("test"), "Nothing was changed")
        self.assertContains(self.press("on"), "goes on where it stopped")
        self.assertEqual(self.deliver(), 1)

    def test_is_logged_with_the_operator(self):
        with self.assertLogs("wallets.utils.deeds") as logs:
            self.press("off")
        self.assertIn(str(self.webhook.uuid), logs.output[0])
        self.assertEqual(logs.records[0].user_id, self.oscar.pk)

    def test_needs_a_post(self):
        for name, more in (("test", []), ("on", []), ("off", []), ("again", [1])):
            with self.subTest(name=name):
                self.assertEqual(self.page(name, *more).status_code, 405)

    def test_is_for_operators_only(self):
        watcher = staff("wanda")
        ours = Permission.objects.filter(content_type__app_label="events")
        watcher.user_permissions.set(ours.filter(codename__startswith="view_"))
        self.pay_in(1)
        self.deliver()
        self.client.force_login(watcher)
        for name, more in (("webhooks", []), ("webhook", []), ("delivery", [1])):
            answer = self.page(name, *more)
            self.assertEqual(answer.status_code, 200)
            self.assertNotContains(answer, 'button class="primary"')
        for name, more in (("test", []), ("on", []), ("off", []), ("again", [1])):
            with self.subTest(name=name):
                answer = self.client.post(self.path(name, *more))
                self.assertContains(answer, "To act", status_code=403)

    def test_is_seen_by_nobody_without_the_permission(self):
        self.client.force_login(self.olga)  # may see all of the product
        answer = self.page("webhooks")
        self.assertContains(answer, "(events.view_endpoint)", status_code=403)
        answer = self.client.get(reverse("console:alarms"))
        self.assertNotContains(answer, "/console/webhooks")
        self.client.logout()
        self.assertEqual(self.page("webhooks").status_code, 302)
