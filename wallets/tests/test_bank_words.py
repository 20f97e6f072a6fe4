"""Clients see only documented answers of the bank, and no other evidence."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.test import SimpleTestCase

from wallets.models.transaction import Transaction
from wallets.services.operations import pause, record, review
from wallets.services.payouts import payout, resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.api import FUTURE, Api
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.tests.fakes import BARE, LOOKS_UP_ONLY, Does, FakeBank
from wallets.utils.bank.interface import Answer, Outcome
from wallets.utils.bank.words import documented

PAID = '{"data": "success", "status": 200}'
REFUSED = '{"data": "failed", "status": 503}'
SECRET = "Mrs Smith, +44 20 7946 0000: AML investigation"
SOCKET = "ConnectionResetError: [Errno 104] Connection reset by peer 10.1.2.3"


class DocumentedTest(SimpleTestCase):
    def test_are_the_two_answers_and_an_echo_of_the_request(self):
        reference = str(uuid.uuid4())
        for text in (
            "",
            "Insufficient balance",
            PAID,
            REFUSED,
            '{"status":200,"data":"success"}',
            json.dumps({"data": "success", "status": 200, "reference": reference}),
            json.dumps(
                {
                    "data": "failed",
                    "status": 503,
                    "reference": reference,
                    "wallet_uuid": reference,
                    "amount": 4000,
                }
            ),
        ):
            with self.subTest(text=text):
                self.assertEqual(documented(text), text)

    def test_are_nothing_else(self):
        for text in (
            SECRET,
            SOCKET,
            "insufficient balance",
            "<h1>Bad Gateway</h1>",
            '"success"',
            "[]",
            "null",
            "{}",
            '{"data": "unknown", "status": 404}',
            '{"data": "success", "status": 503}',
            '{"data": "failed", "status": 200}',
            '{"data": "success", "status": 200.0}',
            '{"data": "success", "status": true}',
            '{"data": ["success"], "status": 200}',
            '{"data": "success", "data": "success", "status": 200}',
            '{"data": "success", "status": 200, "note": "x"}',
            '{"data": "success", "status": 200, "reference": "Mrs Smith"}',
            '{"data": "success", "status": 200, "reference": 5}',
            '{"data": "success", "status": 200, "amount": "5"}',
            '{"data": "success", "status": 200, "amount": true}',
            PAID + SECRET,
            PAID[:-1],
            "\ud800",
            "[" * 500,
        ):
            with self.subTest(text=text[:60]):
                self.assertEqual(documented(text), "")


class WhatClientsSeeTest(Api, WalletTestCase):
    """Every answer about a withdrawal, whatever its state and its history are."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(10_000)

    def answers(self, withdrawal: Transaction) -> list[dict[str, Any]]:
        """Return each answer; none may have words of an operator or a socket."""
        alone = self.get(self.path("transactions", withdrawal.pk, ""))
        listed = self.get(self.path("transactions/"))
        cancelled = self.post(self.path("transactions", withdrawal.pk, "cancel"))
        statement = self.get(self.path("statement/"))
        csv = self.get(self.path("statement/"), accept="text/csv")
        ready = self.get("/readyz")
        for answer in (alone, listed, cancelled, statement, csv, ready):
            for word in ("Smith", "20 7946", "AML", "Errno", "10.1.2.3", "Reset"):
                self.assertNotIn(word, answer.getvalue().decode())
        found = [alone.json()]
        found += [each for each in listed.json() if each["id"] == withdrawal.pk]
        if cancelled.status_code == 200:
            found.append(cancelled.json())
        return found

    def assert_said(self, withdrawal: Transaction, words: str | None) -> None:
        for answer in self.answers(withdrawal):
            self.assertEqual(answer["third_party_response"], words, answer)

    def claimed(self) -> tuple[Transaction, payout.Sending]:
        withdrawal = self.due_withdrawal(100)
        rows = Transaction.objects.filter(pk=withdrawal.pk)
        (sending,) = payout.claim(
            rows, bank=self.bank.abilities, limit=1, now=self.now
        ).sendings
        return withdrawal, sending

    def answered(self, outcome: Outcome, text: str, status: int = 200) -> Transaction:
        withdrawal, sending = self.claimed()
        answer = Answer(outcome, text, status)
        payout.record([(sending, answer)], now=self.now)
        return withdrawal

    def in_review(self) -> Transaction:
        withdrawal = self.answered(Outcome.UNKNOWN, SOCKET)
        resolver.resolve_due(bank=FakeBank(BARE), limit=9, now=self.after(600))
        return withdrawal

    def test_is_what_the_bank_documents(self):
        self.assert_said(self.answered(Outcome.ACCEPTED, PAID), PAID)
        self.assert_said(self.answered(Outcome.REJECTED, REFUSED), REFUSED)
        final = self.due_withdrawal(10**6)
        WithdrawalService.execute(final.pk, bank=self.bank, now=self.now)
        self.assert_said(final, "Insufficient balance")

    def test_is_nothing_of_a_socket(self):
        self.assert_said(self.answered(Outcome.NOT_SENT, SOCKET), None)
        self.assert_said(self.answered(Outcome.UNKNOWN, SOCKET), None)

    def test_is_nothing_while_the_outcome_is_open(self):
        """Also if an answer without proof, such as another payment's, has the words."""
        self.assert_said(self.answered(Outcome.UNKNOWN, PAID, 500), None)

    def test_is_nothing_of_an_operators_evidence(self):
        for paid in (True, False):
            withdrawal = self.in_review()
            review.resolve(withdrawal.pk, paid=paid, evidence=SECRET, actor=OSCAR)
            self.assert_said(withdrawal, None)
            last = withdrawal.transitions.last()
            self.assertEqual(last.evidence, SECRET)  # for readers of the history
            # The bank's answer stays with its attempt.
            self.assertEqual(withdrawal.attempts.get().answer, SOCKET)
            self.assertEqual(withdrawal.attempts.get().http_status, 200)

    def test_is_nothing_of_who_recorded_a_payment(self):
        withdrawal = self.due_withdrawal(100)
        record.record_paid(withdrawal.pk, evidence=SECRET, actor="Mrs Smith")
        self.assert_said(withdrawal, None)

    def test_is_nothing_of_why_payouts_are_paused(self):
        pause.pause(reason=SECRET, actor="Mrs Smith")
        self.answers(self.due_withdrawal(100))

    def test_is_nothing_of_an_earlier_attempt(self):
        withdrawal = self.answered(Outcome.REJECTED, REFUSED)
        bank = FakeBank(LOOKS_UP_ONLY, (Does.LOSE,))
        WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.after(3600))
        resolver.resolve_due(bank=FakeBank(BARE), limit=9, now=self.after(7200))
        self.assert_said(withdrawal, None)
        review.resolve(withdrawal.pk, paid=True, evidence=SECRET, actor=OSCAR)
        self.assert_said(withdrawal, None)

    @marks.slow
    def test_is_nothing_that_an_earlier_release_has_written(self):
        for status, text in (
            ("COMPLETED", SECRET),
            ("FAILED", SOCKET),
            ("PROCESSING", PAID),
            ("PROCESSING", SECRET),
        ):
            withdrawal = self.answered(
                {
                    "COMPLETED": Outcome.ACCEPTED,
                    "FAILED": Outcome.REJECTED,
                    "PROCESSING": Outcome.UNKNOWN,
                }[status],
                REFUSED,
            )
            Transaction.objects.filter(pk=withdrawal.pk).update(
                third_party_response=text
            )
            with self.subTest(status=status, text=text):
                self.assert_said(withdrawal, None)

    def test_is_nothing_in_the_answer_to_a_repeated_request(self):
        key = uuid.uuid4()
        body = {"amount": 100, "scheduled_for": FUTURE}
        made = self.post(self.path("withdraw"), body, key=key).json()
        Transaction.objects.filter(pk=made["id"]).update(third_party_response=SECRET)
        again = self.post(self.path("withdraw"), body, key=key).json()
        self.assertEqual(again, made)
