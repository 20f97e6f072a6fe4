"""The ASGI application: its threads, errors, proxies, and its end."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any
from unittest import mock
from urllib.parse import unquote

from django.db import OperationalError
from django.test import SimpleTestCase, override_settings

from wallets.asgi.application import Application, _headers_of, _work_of
from wallets.asgi.proxies import as_the_client_asked
from wallets.services.requests.busy import Busy
from wallets.services.transfers.transfer_batch import TransferRequest
from wallets.services.wallets.create import CreateRequest
from wallets.tests import marks
from wallets.tests.api import Api
from wallets.tests.asgi import AsgiClient
from wallets.tests.base import WalletTestCase
from wallets.utils.batching import TooManyWaiting
from wallets.utils.caller import ANYBODY, Caller
from wallets.views.deposit import Deposit, DepositListView, DepositView
from wallets.views.health import ReadyView
from wallets.views.http.tenancy import Asked
from wallets.views.problems import from_exceptions
from wallets.views.problems.problem_response import RequestRefused
from wallets.views.transaction import CancelView
from wallets.views.transfer import One, TransferListView
from wallets.views.wallet import WalletListView, WalletView
from wallets.views.withdraw import WithdrawView


class ThreadsTest(SimpleTestCase):
    def executor_of(self, view: Any) -> Executor:
        operation = view.operations[0]
        if operation.is_bulk([]):
            return self.application._bulk[operation].executor
        batcher = self.application._batchers[operation]
        return (batcher.others if operation.always_waits else batcher).executor

    def setUp(self) -> None:
        self.application = Application()

    def test_of_writes_do_not_serve_reads(self) -> None:
        self.assertIs(self.executor_of(DepositView), self.executor_of(WithdrawView))
        self.assertIsNot(self.executor_of(DepositView), self.executor_of(WalletView))

    def test_that_wait_for_locks_serve_no_other_requests(self) -> None:
        """Else four requests that wait for locks, or the broker, would delay the others."""
        views = (DepositView, DepositListView, CancelView, WalletView, ReadyView)
        self.assertEqual(len({self.executor_of(view) for view in views}), len(views))

    @marks.slow
    def test_end_with_the_process_and_not_before_their_work(self) -> None:
        pools: list[ThreadPoolExecutor] = []

        def pool(size: int, name: str) -> Executor:
            pools.append(ThreadPoolExecutor(size, name))
            return pools[-1]

        application, said = Application(pool=pool), []
        messages = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]

        async def receive() -> dict[str, Any]:
            return messages.pop()

        async def send(message: dict[str, Any]) -> None:
            said.append(message["type"])

        with mock.patch("gc.freeze"):
            asyncio.run(application({"type": "lifespan"}, receive, send))
        self.assertEqual(
            said, ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        )
        for each in pools:
            with self.assertRaises(RuntimeError):
                each.submit(print)


class ContentionTest(SimpleTestCase):
    """A call that found another transaction in its way…"""

    def test_waits_for_the_wallets_that_are_locked(self) -> None:
        source, target = uuid.uuid4(), uuid.uuid4()
        asked = TransferRequest(source, target, 1, uuid.uuid4())
        operation = TransferListView.operations[0]
        work = _work_of(operation)
        call = Asked(ANYBODY, One(asked, None))
        for busy, expected in (
            (Busy(wallets={source}), {source}),
            (Busy(), {source, target}),
            (None, {source, target}),
        ):
            with self.subTest(busy=busy):
                self.assertEqual({*work.resources(call, busy)}, expected)

    def test_waits_for_its_key_and_its_reference_if_it_has_no_wallet(self) -> None:
        work, key = _work_of(WalletListView.operations[0]), uuid.uuid4()
        for request, expected in (
            (CreateRequest(), set()),
            (CreateRequest(reference="r", key=key), {"r", key}),
        ):
            call = Asked(ANYBODY, request)
            self.assertEqual({*work.resources(call, Busy())}, expected)


class TransportTest(Api, WalletTestCase):
    client_class = AsgiClient

    def test_uses_django_for_no_operation(self) -> None:
        """Else `test_asgi_suite` would test Django a second time."""
        made = self.post(self.path("deposit"), {"amount": 1}, key=uuid.uuid4())
        number = made.json()["transaction"]["id"]
        for method, path in (
            ("POST", "/wallets/"),
            ("GET", self.path()),
            ("GET", self.path("transactions/")),
            ("GET", self.path("transactions", f"{number}/")),
            ("POST", self.path("transactions", number, "cancel")),
            ("GET", self.path("statement/")),
            ("GET", self.path("balance/?at=2030-01-01T00:00:00Z")),
            ("POST", self.path("withdraw")),
            ("POST", "/deposits/"),
            ("GET", "/healthz"),
            ("GET", "/readyz"),
        ):
            with self.subTest(path=path):
                self.call(method, path)
                self.assertEqual(self.http.handler.handed_on, 0)
        self.get("/")
        self.assertEqual(self.http.handler.handed_on, 1)


class Recorder:
    """Replaces `DjangoApplication`; `read` are the requests whose bodies it would read."""

    def __init__(self) -> None:
        self.read: list[Any] = []
        self.answered: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.read.append((scope["method"], scope["path"]))

    async def answer(self, scope: Any, body: bytes, send: Any) -> None:
        self.answered.append((scope["method"], scope["path"]))


def nobody(scope: str, request: Any) -> Caller:
    """Admit no caller: a value for API_AUTHENTICATION."""
    raise RequestRefused("unauthorized")


@override_settings(API_AUTHENTICATION=f"{__name__}.nobody")
class UnreadBodyTest(SimpleTestCase):
    """The body of a request that nobody may make…"""

    WALLET = "/wallets/00000000-0000-4000-8000-000000000000/"

    def setUp(self) -> None:
        self.django = Recorder()
        self.application = Application(self.django)  # type: ignore[arg-type]

    def status(self, method: str, path: str, **headers: str) -> int | None:
        """Ask; return the status of our own answer, None if Django answers."""
        said: list[Any] = []

        async def receive() -> Any:
            raise AssertionError("the body is read")

        async def send(message: Any) -> None:
            said.append(message)

        raw = path.encode()
        named = {"host": "localhost", "content-length": "99999"} | headers
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": raw,
            "query_string": b"",
            "headers": [(n.encode(), v.encode()) for n, v in named.items()],
            "scheme": "http",
            "http_version": "1.1",
            "client": ("192.0.2.7", 1),
        }
        asyncio.run(self.application(scope, receive, send))
        read, self.django.read = self.django.read, []
        self.assertEqual(read, [])
        return said[0]["status"] if said else None

    def test_is_not_read_for_an_operation(self) -> None:
        for headers in ({}, {"cookie": "sessionid=x"}):
            for path in ("/wallets/", f"{self.WALLET}deposit", "/wallet%73/"):
                with self.subTest(path, **headers):
                    self.assertEqual(self.status("POST", path, **headers), 401)
        self.assertEqual(self.django.answered, [])

    def test_is_not_read_where_django_answers(self) -> None:
        asked = [
            ("PUT", "/wallets/"),
            ("POST", f"{self.WALLET}nothing"),
            ("POST", "/wallets%2F"),
            ("OPTIONS", "/transfers/"),
        ]
        for method, path in asked:
            with self.subTest(path):
                self.assertIsNone(self.status(method, path))
        with self.subTest("host"):
            self.assertIsNone(self.status("POST", "/wallets/", host="evil.example"))
        self.assertEqual(len(self.django.answered), len(asked) + 1)


class TroubleTest(Api, WalletTestCase):
    client_class = AsgiClient

    def deposit_in_trouble(self, trouble: Exception, **options: Any) -> Any:
        with mock.patch.object(Deposit, "many", side_effect=trouble):
            return self.post(self.path("deposit"), {"amount": 1}, **options)

    def test_with_a_lock_is_in_progress_where_there_is_a_key(self) -> None:
        with mock.patch.object(from_exceptions, "is_lock_timeout", return_value=True):
            answer = self.deposit_in_trouble(OperationalError(), key=uuid.uuid4())
            self.assert_problem(answer, 409, "request_in_progress")
            answer = self.deposit_in_trouble(OperationalError())
            self.assert_problem(answer, 503, "service_unavailable")

    def test_of_too_many_requests_is_answered_with_a_retry_time(self) -> None:
        answer = self.deposit_in_trouble(TooManyWaiting())
        self.assert_problem(answer, 503, "service_unavailable")
        self.assertEqual(answer.headers["Retry-After"], "1")


class ProxyTest(SimpleTestCase):
    def scheme(self, client: Any, *said: bytes) -> str:
        headers = [(b"x-forwarded-proto", value) for value in said]
        scope = {"scheme": "http", "client": client, "headers": headers}
        return str(as_the_client_asked(scope, _headers_of(scope))["scheme"])

    def test_on_loopback_sets_the_scheme(self) -> None:
        for client in (("127.0.0.1", 1), ("::1", 1), None):
            self.assertEqual(self.scheme(client, b"https"), "https")

    def test_is_ignored_from_another_address_or_with_two_values(self) -> None:
        self.assertEqual(self.scheme(("192.0.2.7", 1), b"https"), "http")
        for said in ((), (b"http",), (b"HTTPS",), (b"https", b"https")):
            self.assertEqual(self.scheme(("127.0.0.1", 1), *said), "http")
