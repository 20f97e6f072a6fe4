"""The list of problems is complete, and errors of the service show no stack."""

from __future__ import annotations

import re
import threading
import uuid
from pathlib import Path
from typing import Any
from unittest import mock, skipUnless

from django.db import OperationalError, connection, transaction
from django.test import override_settings

from wallets import errors
from wallets.models.wallet import Wallet
from wallets.tests.api import FUTURE, Api, database_out_of_reach
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections
from wallets.tests.races import be_impatient
from wallets.utils.database.transactions import run_in_transaction
from wallets.views.problems import from_exceptions as views_errors
from wallets.views.problems.catalogue import PROBLEMS
from wallets.views.wallet import GetWallet

PROJECT = Path(__file__).resolve().parent.parent


def refusals(kind: type[Exception] = errors.Refusal) -> set[type[Exception]]:
    return {kind}.union(*(refusals(sub) for sub in kind.__subclasses__()))


class ProblemCatalogueTest(WalletTestCase):
    def test_has_every_refusal_of_the_services(self) -> None:
        for refusal in refusals():
            with self.subTest(refusal=refusal.__name__):
                code = refusal.code  # type: ignore[attr-defined]
                self.assertIn(
                    code, PROBLEMS, "add it to wallets/views/problems/catalogue.py"
                )

    def test_has_every_code_that_a_service_or_a_view_names(self) -> None:
        named = re.compile(
            r'(?:code=|RequestRefused\(\s*|answer\(\s*|_plain\(|_error\(\w+, )"(\w+)"'
        )
        found = set()
        for folder in ("services", "views", "serializers"):
            for path in (PROJECT / folder).rglob("*.py"):
                found |= set(named.findall(path.read_text()))
        self.assertGreater(len(found), 15)
        self.assertEqual(found - set(PROBLEMS), set())

    def test_says_of_each_what_it_means(self) -> None:
        for code, problem in PROBLEMS.items():
            with self.subTest(code=code):
                self.assertRegex(code, r"^[a-z_]+$")
                self.assertIn(problem.status // 100, (4, 5))
                self.assertRegex(problem.title, r"^[A-Z].*[^.]$")
                self.assertRegex(problem.explanation, r"^[A-Z].*\.$")

    def test_answers_each_refusal_of_the_services(self) -> None:
        for refusal, args, code in [
            (errors.InsufficientBalance, ("too little",), "insufficient_balance"),
            (errors.UnknownIsNotFailed, ("no",), "unknown_is_not_failed"),
            (errors.IllegalTransition, ("pending", "claim"), "illegal_transition"),
            (errors.InvalidInput, ("no",), "invalid"),
            (errors.Refusal, ("no",), "refused"),
        ]:
            with self.subTest(refusal=refusal.__name__):
                response = views_errors.handle(refusal(*args), {})
                assert response is not None
                self.assertEqual(response.status_code, PROBLEMS[code].status)
                self.assertIn(f'"code":"{code}"', response.content.decode())


class BugTest(Api, WalletTestCase):
    def test_is_answered_without_a_stack_and_logged_with_it(self) -> None:
        bug = mock.patch.object(
            GetWallet, "many", side_effect=RuntimeError("secret /etc/passwd")
        )
        with bug, self.assertLogs(level="ERROR") as logs:
            response = self.get(self.path())
        problem = self.assert_problem(response, 500, "internal_error")
        self.assertNotIn("secret", str(problem))
        self.assertIn("RuntimeError: secret", logs.output[0])


class DatabaseTroubleTest(Api, CommittingTestCase):
    def test_makes_every_endpoint_unavailable_and_says_when_to_come_back(self) -> None:
        body = {"amount": 1, "scheduled_for": FUTURE}
        requests: list[tuple[str, str, Any]] = [
            ("POST", "/wallets/", b""),
            ("GET", self.path(), b""),
            ("POST", self.path("deposit"), {"amount": 1}),
            ("POST", self.path("withdraw"), body),
            ("GET", self.path("transactions/"), b""),
            ("GET", self.path("transactions/1/"), b""),
            ("POST", self.path("transactions/1/cancel"), b""),
            (
                "POST",
                self.path("transactions/1/reschedule"),
                {"scheduled_for": FUTURE},
            ),
        ]
        for method, path, sent in requests:
            with self.subTest(path=path):
                with (
                    database_out_of_reach(),
                    self.assertLogs("wallets.views.problems.from_exceptions"),
                ):
                    response = self.call(method, path, sent)
                self.assert_problem(response, 503, "service_unavailable")
                self.assertEqual(response.headers["Retry-After"], "5")

    @override_settings(DEBUG=True)
    def test_shows_no_stack_in_debug_mode_either(self) -> None:
        with (
            database_out_of_reach(),
            self.assertLogs("wallets.views.problems.from_exceptions"),
        ):
            response = self.get(self.path())
        self.assert_problem(response, 503, "service_unavailable")


@skipUnless(connection.features.has_select_for_update, "no row locks here")
class LockedWalletTest(Api, CommittingTestCase):
    """Another transaction locks Alice's wallet for longer than the lock time-out."""

    def setUp(self) -> None:
        super().setUp()
        locked, self.done = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                Wallet.objects.select_for_update().get(pk=self.alice.pk)
                locked.set()
                self.done.wait(timeout=60)
            close_connections()

        self.thread = threading.Thread(target=hold)
        self.thread.start()
        self.addCleanup(self.let_go)
        self.assertTrue(locked.wait(timeout=30))
        be_impatient(self)

    def let_go(self) -> None:
        self.done.set()
        self.thread.join(timeout=60)
        connection.close()

    def test_answers_409_to_a_request_with_a_key_which_stays_free(self) -> None:
        path, key = self.path("deposit"), uuid.uuid4()
        response = self.post(path, {"amount": 1}, key=key)
        self.assert_problem(response, 409, "request_in_progress")
        self.assertEqual(response.headers["Retry-After"], "1")
        self.let_go()
        response = self.post(path, {"amount": 1}, key=key)
        self.assertEqual(response.status_code, 200)
        self.assertNotIn("Idempotent-Replayed", response.headers)

    def test_answers_503_to_a_request_without_a_key(self) -> None:
        response = self.post(self.path("deposit"), {"amount": 1})
        self.assert_problem(response, 503, "service_unavailable")

    def test_is_not_waited_for_again_when_patience_is_over(self) -> None:
        runs = []

        def work() -> None:
            runs.append(1)
            Wallet.objects.select_for_update().get(pk=self.alice.pk)

        with self.assertRaises(OperationalError):
            run_in_transaction(work, patience=0)
        self.assertEqual(len(runs), 1)
