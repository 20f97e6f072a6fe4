"""The examples of the API of webhooks are its actual answers."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from django.test import SimpleTestCase

from events.problems import PROBLEMS
from events.tests.webhooks import Webhooks
from events.views import schema, webhook_schema
from wallets.tests import test_api_docs
from wallets.tests.conformance import operations


class Recorder(test_api_docs.Recorder):
    """Replaces secrets, the ids of test events and the URL, too."""

    secrets = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")
    tests = re.compile(r"test_[0-9a-f]{32}")

    def normal(self, text: str) -> str:
        text = text.replace(Webhooks.URL, "https://shop.example/hooks/wallet")
        text = self.secrets.sub("whsec_" + "c2VjcmV0" * 5 + "c2U=", text)
        return super().normal(self.tests.sub("test_" + "0123456789abcdef" * 2, text))


class WebhookExamplesTest(Webhooks, test_api_docs.ExamplesTest):
    """WRITE_EXAMPLES=1 stores them."""

    file = Path(webhook_schema.__file__).with_name("webhook_examples.json")
    test_of_problems_are_the_actual_answers = None
    test_are_there_for_every_operation = None

    def setUp(self) -> None:
        super().setUp()
        self.recorder = Recorder(self.key, self.other_key)

    def make_all(self) -> None:
        new = {"url": self.URL, "types": ["deposit.completed"], "description": "Shop"}
        made = self.take("create_webhook", self.post("/webhooks/", new), new)
        path = f"/webhooks/{made['uuid']}/"
        self.post(self.path("deposit"), {"amount": 10000}, key=self.key)
        self.pay_in()
        self.deliver()
        self.take("list_deliveries", self.get(f"{path}deliveries/"))
        self.take("list_webhooks", self.get("/webhooks/"))
        self.take("get_webhook", self.get(path))
        self.take("rotate_webhook_secret", self.post(f"{path}rotate-secret"))
        self.refused("rotate_webhook_secret", self.post(f"{path}rotate-secret"))
        self.take("test_webhook", self.post(f"{path}test"))
        start = {"from": "2026-02-17T12:00:00Z"}
        self.take("replay_webhook", self.post(f"{path}replay", start), start)
        off = {"enabled": False}
        self.take("change_webhook", self.call("PATCH", path, off), off)
        self.refused("test_webhook", self.post(f"{path}test"))
        inside = {"url": "http://169.254.169.254/latest"}
        self.refused("create_webhook", self.post("/webhooks/", inside))
        unknown = {"url": self.URL, "types": ["deposit.made"]}
        self.refused("create_webhook", self.post("/webhooks/", unknown))
        self.refused("replay_webhook", self.post(f"{path}replay", {"from": "now"}))
        self.refused("get_webhook", self.get(f"/webhooks/{uuid.uuid4()}/"))
        self.take("delete_webhook", self.call("DELETE", path))


class CompleteTest(SimpleTestCase):
    def test_are_there_for_every_operation(self) -> None:
        ours = {"Webhooks"}
        ids = {
            each["operationId"]
            for each in operations().values()
            if ours & set(each["tags"])
        }
        self.assertEqual(set(webhook_schema.EXAMPLES), ids)

    def test_has_each_problem_in_an_operation(self) -> None:
        answered = {
            code
            for methods in schema.OPERATIONS.values()
            for each in methods.values()
            for code in each.codes
        }
        self.assertLessEqual({problem.code for problem in PROBLEMS}, answered)
