"""The API's documentation: the document, its page, the problems, the examples."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from django.conf import settings
from django.core.management import call_command
from django.test import SimpleTestCase, override_settings
from django.urls import get_resolver

from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.api import Answer, Api
from wallets.tests.base import WalletTestCase
from wallets.tests.conformance import as_published, operations
from wallets.utils import extensions
from wallets.views import docs
from wallets.views.problems.catalogue import PROBLEMS
from wallets.views.schema import document as document_module
from wallets.views.schema.files import openapi_yaml, problems_markdown
from wallets.views.schema.operations import OPERATIONS

ROOT = Path(settings.BASE_DIR)
EXAMPLES = Path(document_module.__file__).with_name("examples.json")
# Codes of answers outside the API's endpoints, or of services without an endpoint.
NOT_OF_AN_ENDPOINT = {
    "already_returned",
    "forbidden",
    "headers_too_large",
    "illegal_transition",
    "invalid",
    "not_returnable",
    "refused",
    "return_too_large",
    "unknown_is_not_failed",
    "unauthorized",
    "uri_too_long",
}


class GeneratedTest(SimpleTestCase):
    """The committed documents are those that `make docs` generates."""

    def test_the_document_is_committed_as_it_is(self) -> None:
        committed = (ROOT / "docs/openapi.yaml").read_bytes()
        self.assertEqual(committed, openapi_yaml(), "run `make docs`")
        self.assertLess(len(committed), 400_000)

    @marks.slow
    def test_is_made_once_while_other_threads_wait_for_it(self) -> None:
        made: list[Any] = []

        def make() -> Any:
            made.append(document_module.document())
            time.sleep(0.1)
            return made[-1]

        docs._written.cache_clear()
        with mock.patch.object(docs, "document", make), ThreadPoolExecutor(4) as pool:
            texts = [pool.submit(docs.written) for _ in range(4)]
            answers = [text.result(timeout=60) for text in texts]
        self.assertEqual(len(made), 1)
        self.assertEqual(answers, [docs.written()] * 4)

    def test_the_page_of_problems_is_committed_as_it_is(self) -> None:
        committed = (ROOT / "docs/problems.md").read_text(encoding="utf-8")
        self.assertEqual(committed, problems_markdown(), "run `make docs`")

    def test_the_page_of_problems_has_those_of_callers_that_are_asked(self) -> None:
        """The same page with keys and without: access/tests/test_switch.py."""
        rows = {row.split("`")[1]: row for row in problems_markdown().splitlines()[13:]}
        asked = "with `API_AUTH=keys`: all but `alive`, `ready` |"
        for code in ("unauthenticated", "forbidden", "rate_limited"):
            self.assertTrue(rows[code].endswith(f"| {asked}"), rows[code])
        self.assertIn("| 429 | `rate_limited` |", rows["rate_limited"])
        self.assertNotIn("API_AUTH", rows["service_unavailable"])
        self.assertLessEqual(set(PROBLEMS), set(rows))

    @marks.slow
    def test_the_document_is_valid_without_a_warning(self) -> None:
        call_command("spectacular", validate=True, fail_on_warn=True, stdout=StringIO())


class DocumentTest(SimpleTestCase):
    def test_has_every_endpoint(self) -> None:
        patterns = get_resolver("wallets.urls").url_patterns
        views = {
            pattern.callback.cls
            for pattern in patterns
            if pattern.callback.cls.schema is not None
        }
        self.assertEqual(views, set(OPERATIONS))
        self.assertEqual(len(operations()), sum(map(len, OPERATIONS.values())))

    def test_has_every_parameter_that_an_endpoint_knows(self) -> None:
        for view, methods in OPERATIONS.items():
            served = getattr(view, "operations", ())
            known_of = {each.method: each.known_parameters for each in served}
            for method, operation in methods.items():
                known = set(known_of.get(method, ()))
                documented = {parameter.name for parameter in operation.query}
                self.assertEqual(documented, known, operation.id)

    def test_has_every_problem(self) -> None:
        documented = {
            code
            for methods in OPERATIONS.values()
            for operation in methods.values()
            for code in (*operation.codes, *operation.item_codes)
        }
        self.assertEqual(documented, set(PROBLEMS) - NOT_OF_AN_ENDPOINT)

    def test_refers_to_existing_parts_and_has_no_unused_ones(
        self,
    ) -> None:
        text = json.dumps(as_published())
        referred = set(re.findall(r"#/components/schemas/(\w+)", text))
        self.assertEqual(referred, set(as_published()["components"]["schemas"]))
        ids = {operation["operationId"] for operation in operations().values()}
        self.assertEqual(len(ids), len(operations()))
        linked = {
            link["operationId"]
            for operation in operations().values()
            for response in operation["responses"].values()
            for link in response.get("links", {}).values()
        }
        self.assertLessEqual(linked, ids)
        self.assertGreater(len(linked), 5)

    def test_closes_requests_and_leaves_answers_open(self) -> None:
        """Today's clients work with the members and values of a later release."""
        requests = {
            "CloseRequest",
            "CorrectionRequest",
            "DepositItem",
            "DepositRequest",
            "FreezeRequest",
            "RescheduleRequest",
            "TransferItem",
            "TransferRequest",
            "WalletChangeRequest",
            "WalletRequest",
            "WithdrawRequest",
        }
        requests |= {
            f"Webhook{what}Request" for what in ("", "Change", "Replay", "Rotation")
        }
        parameters = {"TransactionStatus", "TransactionType", "WalletState"}
        parameters |= {"Direction", "FailureCode", "IfFrozen"}
        for name, schema in as_published()["components"]["schemas"].items():
            closed = schema.get("additionalProperties") is False
            self.assertEqual(closed, name in requests, name)
            self.assertEqual('"enum"' in json.dumps(schema), name in parameters, name)

    def test_names_every_object_and_every_enum(self) -> None:
        """A generator would number unnamed types, or give two of them one name."""
        for path in as_published()["paths"].values():
            text = json.dumps(path)
            self.assertNotIn('"properties"', text)
            self.assertNotIn('"enum"', text)
        for name, schema in as_published()["components"]["schemas"].items():
            for member, inner in schema.get("properties", {}).items():
                self.assertNotIn("properties", inner, f"{name}.{member}")
                self.assertNotIn("additionalProperties", inner, f"{name}.{member}")

    def test_says_that_there_is_no_login_and_describes_each_tag(self) -> None:
        self.assertEqual(as_published()["security"], [])
        described = {
            tag["name"] for tag in as_published()["tags"] if tag["description"]
        }
        used = {tag for each in operations().values() for tag in each["tags"]}
        self.assertEqual(described, used)

    def test_lets_a_client_send_no_parameter_by_default(self) -> None:
        """Else a generated client would send a `limit`, which is refused with CSV."""
        for operation in operations().values():
            for parameter in operation.get("parameters", []):
                self.assertNotIn("default", parameter["schema"], parameter["name"])


class PagesTest(Api, WalletTestCase):
    @marks.slow
    def test_serve_the_document_in_json_and_yaml(self) -> None:
        as_json = self.get("/api/schema/")
        self.assertEqual(as_json.headers["Content-Type"], "application/json")
        self.assertEqual(as_json.json(), as_published())
        self.assertEqual(as_json.json()["openapi"], "3.1.0")
        for accept in ("application/yaml", "application/vnd.oai.openapi"):
            as_yaml = self.get("/api/schema/", Accept=accept)
            self.assertEqual(as_yaml.headers["Content-Type"].partition(";")[0], accept)
            self.assertEqual(yaml.safe_load(as_yaml.content), as_published())
        response = self.get("/api/schema/", Accept="image/png")
        self.assert_problem(response, 406, "not_acceptable")

    def test_show_the_document_without_calls_to_other_servers(self) -> None:
        page = self.get("/api/docs/", Accept="text/html,*/*;q=0.8")
        self.assertEqual(page.status_code, 200)
        text = page.content.decode()
        self.assertIn("swagger-ui", text)
        self.assertNotIn("://", text)
        policy = page.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertIn("script-src 'self';", policy)
        script = self.get("/api/docs/?script=")
        self.assertIn("/api/schema/", script.content.decode())
        self.assertIn('"validatorUrl": null', script.content.decode())

    def test_are_a_page_and_nothing_else(self) -> None:
        for path in ("/api/docs/", "/api/schema/", "/problems/", "/problems/required"):
            for accept in ("*/*", "text/html"):
                if (path, accept) == ("/api/schema/", "text/html"):
                    continue
                options = self.call("OPTIONS", path, Accept=accept)
                self.assertEqual(options.status_code, 204)
                self.assertEqual(options.headers["Allow"], "GET, HEAD, OPTIONS")
                self.assertNotIn("Content-Type", options.headers)
        for method in ("POST", "PUT", "DELETE", "TRACE"):
            response = self.call(method, "/api/docs/")
            self.assert_problem(response, 405, "method_not_allowed")

    @override_settings(ROOT_URLCONF="wallets.tests.urls_without_docs")
    def test_can_be_switched_off(self) -> None:
        for path in ("/api/schema/", "/api/docs/"):
            self.assert_problem(self.get(path), 404, "not_found")
        self.assertEqual(self.get(self.path()).status_code, 200)

    def test_say_of_each_problem_what_it_is(self) -> None:
        for code, problem in PROBLEMS.items():
            with self.subTest(code=code):
                told = self.get(f"/problems/{code}").json()
                self.assertEqual(told["type"], f"/problems/{code}")
                self.assertEqual(told["status"], problem.status)
                self.assertEqual(told["explanation"], problem.explanation)
                page = self.get(f"/problems/{code}", Accept="text/html,*/*;q=0.8")
                self.assertEqual(
                    page.headers["Content-Type"], "text/html; charset=utf-8"
                )
                self.assertContains(page, problem.title, html=False)
                self.assertNotIn("://", page.content.decode())
        page = self.get("/problems/invalid_request", Accept="text/html,*/*;q=0.8")
        self.assertContains(page, "<code>errors</code> has one entry")
        every = self.get("/problems/").json()
        self.assertEqual([told["code"] for told in every], list(PROBLEMS))
        page = self.get("/problems/", Accept="text/html")
        self.assertEqual(page.content.count(b"<section"), len(PROBLEMS))

    def test_answer_404_for_an_unknown_problem(self) -> None:
        for code in ("nope", "NOT_FOUND", "not-found", "not_found/", "x" * 3000):
            response = self.get(f"/problems/{code}", Accept="*/*")
            self.assert_problem(response, 404, "not_found")

    def test_resolve_the_type_of_a_problem(self) -> None:
        problem = self.get(f"/wallets/{uuid.uuid4()}/").json()
        self.assertEqual(self.get(problem["type"]).json()["code"], problem["code"])


# The problems of removable applications; their own tests show them.
ADDED = {
    one.code for one in chain.from_iterable(extensions.of_each("problems", "PROBLEMS"))
}


class Recorder:
    """Replaces what differs between runs by the values of the examples."""

    uuids = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    numbers = ("id", "transaction", "corrects", "from_transaction", "to_transaction")
    times = re.compile(r"20(?!30|26-02-17T12)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")

    def __init__(self, *keys: str) -> None:
        self.known = {key: key for key in keys}
        self.ids: dict[int, int] = {}

    def normal(self, text: str) -> str:
        for found in self.uuids.findall(text):
            name = f"wallet.example/{len(self.known) - 1}"
            example = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
            self.known.setdefault(found, example)
        text = self.uuids.sub(lambda match: self.known[match[0]], text)
        return self.times.sub("2026-02-17T10:00:00.250000Z", text)

    def body(self, value: Any) -> Any:
        return self._ids(json.loads(self.normal(json.dumps(value))))

    def _ids(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._ids(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            name: (
                self.ids.setdefault(each, len(self.ids) + 1)
                if name in self.numbers and isinstance(each, int)
                else self._ids(each)
            )
            for name, each in value.items()
        }


class ExamplesTest(Api, WalletTestCase):
    """Makes every request of the examples again; WRITE_EXAMPLES=1 stores them."""

    key = "550e8400-e29b-41d4-a716-446655440000"
    other_key = "9d5c1d3e-3f0b-4a52-8d5e-0c6f6f4f4b11"
    file = EXAMPLES

    def setUp(self) -> None:
        super().setUp()
        self.recorder = Recorder(self.key, self.other_key)
        self.examples: dict[str, dict[str, Any]] = {}

    @marks.slow
    def test_are_the_actual_answers(self) -> None:
        self.make_all()
        if os.environ.get("WRITE_EXAMPLES"):
            self.file.write_text(json.dumps(self.examples, indent=1) + "\n")
        recorded = json.loads(self.file.read_text(encoding="utf-8"))
        self.assertEqual(recorded, self.examples, "WRITE_EXAMPLES=1, then `make docs`")

    def test_of_problems_are_the_actual_answers(self) -> None:
        given = {
            code: example["value"]
            for operation in operations().values()
            for status, response in operation["responses"].items()
            if int(status) not in (200, 201, 400, 409, 422)
            for content in response["content"].values()
            for code, example in content.get("examples", {}).items()
            if code not in ADDED
        }
        nobody = str(uuid.uuid4())
        path = self.path("deposit")
        for response in (
            self.get("/nowhere/"),
            self.get(f"/wallets/{nobody}/"),
            self.get(self.path("transactions", "999/")),
            self.get(f"/transfers/{nobody}/"),
            self.call("PUT", path),
            self.get(self.path(), Accept="image/png"),
            self.post(path, b" " * 20_000),
            self.post(path, "{}", content_type="text/plain"),
        ):
            found = response.json()
            self.assertEqual(given.pop(found["code"]), found)
        self.assertEqual(
            set(given), {"length_required", "internal_error", "service_unavailable"}
        )

    def test_are_there_for_every_operation(self) -> None:
        recorded = document_module.EXAMPLES
        ids = {operation["operationId"] for operation in operations().values()}
        self.assertEqual(set(recorded), ids)

    def make_all(self) -> None:
        opened = self.make_wallet()
        base = f"/wallets/{opened['uuid']}/"
        one = self.make_money(base)
        self.read_statement(base)
        self.make_many(opened["uuid"])
        self.make_transfers(opened["uuid"])
        self.make_corrections(one)
        self.take("alive", self.get("/healthz"))
        self.examples["ready"] = {}
        self.make_life(base)
        self.refuse_money(base, one)
        self.refuse_reads(base)

    named = {"reference": "customer-4711", "metadata": {"plan": "gold"}}
    planned = {
        "amount": 4000,
        "scheduled_for": "2030-02-17T12:00:00Z",
        "if_frozen": "fail",
        "description": "monthly payout",
    }

    def make_wallet(self) -> Any:
        opened = self.take(
            "create_wallet", self.post("/wallets/", self.named), self.named
        )
        change = {"metadata": {"plan": "silver"}}
        answer = self.call("PATCH", f"/wallets/{opened['uuid']}/", change)
        self.take("change_wallet", answer, change)
        found = self.get("/wallets/?reference=customer-4711")
        self.take("list_wallets", found)
        return opened

    def make_money(self, base: str) -> str:
        """Deposit, schedule, reschedule, cancel; return the path of the deposit."""
        deposit = {"amount": 10000, "reference": "invoice 7"}
        answer = self.post(f"{base}deposit", deposit, key=self.key)
        made = self.take("deposit", answer, deposit)
        one = f"{base}transactions/{made['transaction']['id']}/"
        answer = self.post(f"{base}withdraw", self.planned)
        planned = self.take("withdraw", answer, self.planned)
        due = f"{base}transactions/{planned['id']}/"
        self.take("get_wallet", self.get(base))
        self.take("get_transaction", self.get(one))
        self.take("list_transactions", self.get(f"{base}transactions/"))
        found = self.get("/transactions/?amount_from=4000&type=WITHDRAWAL")
        self.take("list_all_transactions", found)
        later = {"scheduled_for": "2030-03-01T12:00:00Z"}
        self.take("reschedule", self.post(f"{due}reschedule", later), later)
        self.take("cancel", self.post(f"{due}cancel"))
        return one

    def read_statement(self, base: str) -> None:
        self.take("get_balance", self.get(f"{base}balance/"))
        self.take("get_statement", self.get(f"{base}statement/"))
        table = self.get(f"{base}statement/", Accept="text/csv")
        text = table.getvalue().decode()
        ids = {str(here): str(there) for here, there in self.recorder.ids.items()}
        lines = [line.split(",") for line in self.recorder.normal(text).splitlines()]
        lines = [[*line[:3], ids.get(line[3], line[3]), *line[4:]] for line in lines]
        text = "".join(",".join(line) + "\n" for line in lines)
        self.examples["get_statement"]["csv"] = text

    def make_many(self, wallet: str) -> None:
        many = [
            {"wallet": wallet, "amount": amount, "idempotency_key": key}
            for amount, key in (
                (2500, self.other_key),
                (2500, self.other_key),
                (9999, self.key),
            )
        ]
        self.take("deposit_many", self.post("/deposits/", json.dumps(many)), many)

    def make_life(self, base: str) -> None:
        freeze = {"direction": "out", "reason": "a court order"}
        frozen = self.post(f"{base}freeze", freeze)
        self.take("freeze", frozen, freeze)
        self.refused("withdraw", self.post(f"{base}withdraw", self.planned))
        lifted = {"direction": "out", "reason": "the order was lifted"}
        self.take("unfreeze", self.post(f"{base}unfreeze", lifted), lifted)
        closing = {"reason": "the customer has left"}
        self.take("close", self.post(self.path("close"), closing), closing)
        self.refused("close", self.post(f"{base}close", closing))
        self.refused("create_wallet", self.post("/wallets/", self.named))
        self.refused("create_wallet", self.post("/wallets/", {"currency": "usd"}))

    def refuse_money(self, base: str, one: str) -> None:
        self.refused("deposit", self.post(f"{base}deposit", {"amount": "100"}))
        self.refused("deposit", self.post(f"{base}deposit", {"amonut": 1, "amount": 1}))
        other = self.post(f"{base}deposit", {"amount": 1}, key=self.key)
        self.refused("deposit", other)
        past = {"amount": 1, "scheduled_for": "2020-01-01T00:00:00Z"}
        self.refused("withdraw", self.post(f"{base}withdraw", past))
        naive = {"amount": 1, "scheduled_for": "2030-01-01T00:00:00"}
        self.refused("withdraw", self.post(f"{base}withdraw", naive))
        foreign = WalletService.create(currency="KWD")
        path = self.path("withdraw", wallet=foreign)
        self.refused("withdraw", self.post(path, self.planned))
        self.refused("cancel", self.post(f"{one}cancel"))
        later = {"scheduled_for": "2030-03-01T12:00:00Z"}
        self.refused("reschedule", self.post(f"{one}reschedule", later))

    def refuse_reads(self, base: str) -> None:
        naive = self.get("/transactions/?scheduled_from=2026-02-17")
        self.refused("list_all_transactions", naive)
        self.refused("list_wallets", self.get("/wallets/?balance_from=-1"))
        self.refused("get_wallet", self.get(f"/wallets/{uuid.uuid4()}/"))
        self.refused("get_transaction", self.get(f"{base}transactions/{10**15}/"))
        self.refused("list_transactions", self.get(f"{base}transactions/?limit=1000"))
        naive = self.get(f"{base}statement/?from=2026-02-17T00:00:00")
        self.refused("get_statement", naive)

    def make_transfers(self, payer: str) -> None:
        payee = str(WalletService.create().uuid)
        one = {"from": payer, "to": payee, "amount": 1500}
        made = self.take("transfer", self.post("/transfers/", one), one)
        path = f"/transfers/{made['transfer']['id']}/"
        self.take("get_transfer", self.get(path))
        for wrong in (one | {"to": payer}, one | {"amount": 10**9}):
            self.refused("transfer", self.post("/transfers/", wrong))
        nobody = self.get(f"/transfers/{uuid.uuid4()}/")
        self.refused("get_transfer", nobody)

    def make_corrections(self, deposited: str) -> None:
        """Correct a deposit, given by its path, and then too much of it."""
        path = f"{deposited}corrections/"
        wrong = {"amount": 9000, "reason": "10000 was typed for 1000"}
        with override_settings(API_CORRECTIONS=True):
            self.take("correct", self.post(path, wrong), wrong)
            self.refused("correct", self.post(path, wrong))

    def take(self, name: str, response: Answer, request: Any = None) -> Any:
        self.assertLess(response.status_code, 300, response.content)
        example = self.examples[name] = {}
        if request is not None:
            example["request"] = self.recorder.body(request)
        example["answer"] = self.recorder.body(response.json())
        return response.json()

    def refused(self, name: str, response: Answer) -> None:
        problem = self.recorder.body(response.json())
        problems = self.examples[name].setdefault("problems", {})
        problems[problem["code"]] = problem


class WithdrawalLifeTest(Api, WalletTestCase):
    """The answer is documented for every state of a withdrawal."""

    def test_is_documented_in_each_state(self) -> None:
        self.deposit(10)
        for amount in (3, 99):
            withdrawal = self.due_withdrawal(amount)
            path = self.path("transactions", withdrawal.pk, "")
            self.assertEqual(self.get(path).json()["status"], "PENDING")
            WithdrawalService.execute(withdrawal.pk, bank=self.bank)
            self.assertIn(self.get(path).json()["status"], ("COMPLETED", "FAILED"))
