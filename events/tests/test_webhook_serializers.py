"""The functions that read and write webhooks do what the serializers declare."""

from __future__ import annotations

from typing import Any

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from events.models.delivery import Delivery
from events.models.event import EventType
from events.serializers import webhook
from events.serializers.delivery import DeliverySerializer, delivery_line
from events.services.webhooks import history
from events.tests.webhooks import WebhookTestCase
from wallets.tests.test_serializers import VALUES, declared, outcome, quickly

NAMES = ["url", "types", "description", "enabled", "from", "secret", "x" * 200]
TYPES = st.lists(st.sampled_from([*EventType.values, "x"]), max_size=3)
TEXTS = st.sampled_from(["", "https://a.example/", "Büro", "2026-02-17T12:00:00Z"])
BODIES = st.dictionaries(st.sampled_from(NAMES), VALUES | TYPES | TEXTS)


class ReadersTest(SimpleTestCase):
    @quickly
    @given(body=BODIES)
    def test_take_what_the_serializers_take(self, body: Any) -> None:
        for read, serializer in (
            (webhook.read_webhook, webhook.WebhookRequestSerializer),
            (webhook.read_changes, webhook.WebhookChangeRequestSerializer),
            (
                lambda body: {"from": webhook.read_replay(body)},
                webhook.WebhookReplayRequestSerializer,
            ),
        ):
            found = outcome(declared(serializer), body)
            self.assertEqual(outcome(read, body), found, body)


class WritersTest(WebhookTestCase):
    def test_write_the_members_that_the_serializers_have_in_order(self) -> None:
        endpoint = self.endpoint().endpoint
        self.pay_in(1)
        self.deliver()
        line = webhook.webhook_line(endpoint)
        self.assertEqual(list(line), list(webhook.WebhookSerializer().fields))
        (row,) = history.shown(endpoint, list(Delivery.objects.all()))
        self.assertEqual(list(delivery_line(row)), list(DeliverySerializer().fields))
