"""Log lines: each is a JSON object with ids, and without confidential data."""

import copy
import io
import json
import logging
import sys
from unittest import mock

import structlog
from celery import shared_task
from django.conf import settings
from django.test import Client, SimpleTestCase
from django_structlog.celery.receivers import CeleryReceiver

from wallet.logs import REQUEST_LOGGER, logging_config
from wallets.models.transaction import Transaction
from wallets.services.payouts import payout, recording, resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import CommittingTestCase
from wallets.tests.fakes import FakeBank
from wallets.utils.bank.interface import Answer, Outcome
from wallets.views.deposit import Deposit

CANARY = "canary-7f3a"
KEY = "ca0a21ca-0a21-4a21-8a21-ca0a21ca0a21"


class TalkativeBank(FakeBank):
    """A bank whose answers contain confidential words."""

    answers = [
        Answer(Outcome.ACCEPTED, f"{CANARY} accepted", 200),
        Answer(Outcome.REJECTED, f"{CANARY} rejected", 200),
        Answer(Outcome.UNKNOWN, f"{CANARY} unknown", 500),
    ]

    def pay(self, payment, *, send_before=float("inf")):
        return self.answers.pop() if self.answers else Answer(Outcome.UNKNOWN, CANARY)


@shared_task
def fails_with_a_secret():
    raise RuntimeError(CANARY)


class LogTestCase(CommittingTestCase):
    """Captures every line in the form of production."""

    def setUp(self):
        super().setUp()
        self.stream = io.StringIO()
        for name, form in (("", "line"), (REQUEST_LOGGER, "request")):
            handler = logging.StreamHandler(self.stream)
            config = dict(settings.LOGGING["formatters"][form])
            handler.setFormatter(config.pop("()")(**config))
            logger = logging.getLogger(name)
            level = logger.level
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG)
            self.addCleanup(logger.setLevel, level)
            self.addCleanup(logger.removeHandler, handler)

    def lines(self):
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def text(self):
        return self.stream.getvalue()


class RequestLineTest(SimpleTestCase):
    def test_has_the_members_that_every_other_line_would_have(self):
        config = logging_config(
            level="INFO", as_json=True, service="api", secrets=["the-secret"]
        )
        record = logging.getLogger(REQUEST_LOGGER).makeRecord(
            REQUEST_LOGGER, logging.INFO, "", 0, "request", (), None
        )
        told = {"method": "GET", "path": "/the-secret/é", "status": 200, "ms": 1.5}
        record.__dict__.update(told, request_id="0123456789")
        lines = []
        for form in ("line", "request"):
            parts = dict(config["formatters"][form])
            text = parts.pop("()")(**parts).format(copy.copy(record))
            lines.append({**json.loads(text), "time": ""})
            self.assertNotIn("the-secret", text)
        self.assertEqual(*lines)
        self.assertRegex(
            json.loads(text)["time"], r"^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z$"
        )


class LogTest(LogTestCase):
    def post(self, path, data, **headers):
        client = Client(raise_request_exception=False)
        return client.post(path, data, content_type="application/json", headers=headers)

    def test_tells_each_request_with_its_id(self):
        self.post("/wallets/", "", **{"X-Request-ID": "0123456789abcdef"})
        (line,) = [line for line in self.lines() if line["event"] == "request"]
        self.assertEqual(
            (line["method"], line["path"], line["status"], line["request_id"]),
            ("POST", "/wallets/", 201, "0123456789abcdef"),
        )
        self.assertEqual(line["service"], settings.SERVICE_NAME)
        self.assertRegex(line["time"], r"^\d{4}-.*Z$")

    def test_ties_a_withdrawal_to_its_request(self):
        due = self.after(3600).isoformat()
        path = f"/wallets/{self.alice.uuid}/withdraw"
        made = self.post(path, json.dumps({"amount": 5, "scheduled_for": due}))
        (line,) = [line for line in self.lines() if "withdrawal_id" in line]
        self.assertEqual(line["withdrawal_id"], made.json()["id"])
        self.assertEqual(line["request_id"], made.headers["X-Request-ID"])

    def test_tells_what_becomes_of_a_withdrawal(self):
        self.deposit(100)
        withdrawal = self.due_withdrawal(10)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        events = [
            (line["event"], line["state"])
            for line in self.lines()
            if line.get("withdrawal_id") == withdrawal.pk
        ]
        self.assertEqual(
            events,
            [
                ("withdrawal: schedule", "pending"),
                ("withdrawal: claim", "sending"),
                ("withdrawal: accepted", "completed"),
            ],
        )

    def test_tells_by_its_reference_what_could_not_be_recorded(self):
        """With a bank that answers no questions, the line is the only evidence."""
        self.deposit(100)
        withdrawal = self.due_withdrawal(10)
        rows = Transaction.objects.filter(pk=withdrawal.pk)
        (sent,) = payout.claim(rows, bank=self.bank.abilities, limit=1).sendings
        recording.log_unrecorded(sent, Answer(Outcome.ACCEPTED))
        (line,) = [line for line in self.lines() if "outcome" in line]
        self.assertEqual(line["event"], "an answer of the bank was not recorded")
        self.assertEqual(
            (line["withdrawal_id"], line["attempt"], line["outcome"]),
            (withdrawal.pk, 1, "accepted"),
        )
        self.assertEqual(line["reference"], str(sent.payment.reference))

    def test_never_tells_what_a_client_sends(self):
        path = f"/wallets/{self.alice.uuid}/deposit"
        headers = {
            "Idempotency-Key": KEY,
            "Authorization": f"Bearer {CANARY}",
            "Cookie": f"session={CANARY}",
            "User-Agent": CANARY,
            "Referer": f"https://{CANARY}/",
            "X-Request-ID": f"{CANARY} {CANARY}",
        }
        for body in (
            json.dumps({"amount": 10, "note": CANARY}),
            json.dumps({"amount": CANARY}),
            f"{{{CANARY}",
            json.dumps({"amount": 10}),
            json.dumps({"amount": 11}),  # the same key for another request
        ):
            self.post(f"{path}?note={CANARY}", body, **headers)
            self.post(path, body, **headers)
        with mock.patch.object(Deposit, "many", side_effect=RuntimeError(CANARY)):
            self.assertEqual(
                self.post(path, json.dumps({"amount": 10}), **headers).status_code, 500
            )
        self.assert_silent()
        self.assertIn("RuntimeError", self.text())
        self.assertGreater(len(self.lines()), 8)

    def test_never_tells_what_a_client_gets_refused_for(self):
        client = Client(raise_request_exception=False, enforce_csrf_checks=True)
        path = f"/wallets/{self.alice.uuid}/deposit"
        for status, answer in (
            (400, client.get("/wallets/", headers={"Host": f"{CANARY}.example"})),
            (400, client.get("/", headers={"Host": f"{CANARY}_@"})),
            (406, client.get("/readyz", headers={"Accept": f"x/{CANARY}"})),
            (415, client.post(path, "{}", content_type=f"text/{CANARY}")),
            (400, client.post(f"{path}?{'a=1&' * 1001}b={CANARY}")),
            (403, client.post("/console/login", {"username": CANARY})),
            (403, client.post("/admin/login/", {"password": CANARY})),
        ):
            self.assertEqual(answer.status_code, status)
        # Like `runserver`.
        logging.getLogger("django.server").error('"GET /?%s HTTP/1.1" 500', CANARY)
        self.assert_silent()
        levels = {line["level"] for line in self.lines()}
        self.assertLessEqual(
            levels, {"debug", "info"}
        )  # a refusal is no error of the service

    def test_never_tells_what_the_bank_answers(self):
        self.deposit(100)
        bank = TalkativeBank()
        for _ in range(3):
            withdrawal = self.due_withdrawal(10)
            WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.now)
        resolver.resolve_due(bank=bank, limit=10, now=self.after(120))
        self.assert_silent()
        for state in ("completed", "failed_retryable", "unknown"):
            self.assertIn(state, self.text())

    def test_never_tells_what_a_failed_task_says(self):
        receiver = CeleryReceiver()
        receiver.connect_worker_signals()
        result = fails_with_a_secret.apply(throw=False)
        (line,) = [line for line in self.lines() if line["event"] == "task_failed"]
        self.assertEqual(line["task_id"], result.id)
        self.assertEqual(line["exception"], "RuntimeError")
        self.assert_silent()

    def test_never_tells_a_secret_of_the_configuration(self):
        logging.getLogger("a.library").error(
            "cannot reach x:%s@db", settings.SECRET_KEY
        )
        self.assertNotIn(settings.SECRET_KEY, self.text())
        self.assertIn("x:***@db", self.text())

    def assert_silent(self):
        for planted in (CANARY, KEY):
            found = [line for line in self.text().splitlines() if planted in line]
            self.assertEqual(found, [])

    def tearDown(self):
        structlog.contextvars.clear_contextvars()
        super().tearDown()


class ConsoleFormatTest(SimpleTestCase):
    """LOG_FORMAT=console: the same lines, for people at a terminal."""

    def setUp(self):
        self.addCleanup(structlog.configure, **structlog.get_config())
        config = logging_config(level="INFO", as_json=False, service="api")
        line = config["formatters"]["line"]
        make = line.pop("()")
        self.formatter = make(**line)

    def test_tells_an_exception_by_its_type_and_where_it_happened(self):
        try:
            raise RuntimeError(CANARY)
        except RuntimeError:
            found = sys.exc_info()
        record = logging.LogRecord("a", logging.ERROR, "f", 1, "failed", (), found)
        text = self.formatter.format(record)
        for words in ("failed", "service", "RuntimeError", "test_logs.py"):
            self.assertIn(words, text)
        self.assertNotIn(CANARY, text)
