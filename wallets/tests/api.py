"""Common code of the API's tests: an HTTP client, and the check of a problem."""

from __future__ import annotations

import io
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import TestCase
from wsgiref.util import setup_testing_defaults

from django.apps import apps
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from django.test import Client

from wallets.models.wallet import Wallet
from wallets.tests.conformance import assert_documented
from wallets.views.problems.catalogue import PROBLEMS

FUTURE = "2030-01-31T12:00:00Z"
# The test client adds attributes to each `HttpResponse`, so its type is `Any`.
Answer = Any
# No answer may contain these: stacks, SQL, names of tables and modules.
LEAKS = ("Traceback", 'File "', "SELECT ", "INSERT ", "wallets_", "django", "psycopg")


class Api:
    """Calls the API with exact bytes. A mixin for the test cases of `base`."""

    client_class: type[Client] = Client

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.http = self.client_class(raise_request_exception=False)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] = b"",
        *,
        content_type: str = "application/json",
        key: str | uuid.UUID | None = None,
        **headers: str,
    ) -> Answer:
        if isinstance(body, dict):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Idempotency-Key"] = str(key)
        response = self.http.generic(
            method, path, body, content_type=content_type, headers=named
        )
        assert_documented(method, path, response)
        return response

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = b"", **options: Any) -> Answer:
        return self.call("POST", path, body, **options)

    def path(self, *parts: Any, wallet: Any = None) -> str:
        """Return the path of these parts below Alice's wallet, or below `wallet`."""
        wallet = wallet or self.alice  # type: ignore[attr-defined]
        return f"/wallets/{wallet.uuid}/" + "/".join(str(part) for part in parts)

    def assert_problem(
        self, response: Answer, status: int, code: str, field: str | None = None
    ) -> dict[str, Any]:
        """Check that the response is this problem, complete; return its members."""
        text = response.content.decode()
        assert response.status_code == status, (response.status_code, text)
        assert response.headers["Content-Type"] == "application/problem+json"
        problem = json.loads(text)
        assert list(problem)[:6] == [
            "type",
            "title",
            "status",
            "code",
            "detail",
            "errors",
        ], problem
        assert problem["code"] == code, problem
        assert problem["status"] == status == PROBLEMS[code].status
        assert problem["type"] == f"/problems/{code}"
        fields = [error["field"] for error in problem["errors"]]
        assert field is None or field in fields, problem
        for leak in (*LEAKS, settings.SECRET_KEY):
            assert leak not in text, (leak, text)
        return problem


def call_wsgi(
    application: Any,
    path: str,
    body: bytes = b"",
    *,
    wsgi_input: io.BytesIO | None = None,
    **environ: Any,
) -> tuple[str, dict[str, str], bytes]:
    """Call an application like a server; return status line, headers and body.

    By default it is a POST of JSON. `environ` changes variables; None removes one.
    """
    path, _, query = path.partition("?")
    given: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "HTTP_HOST": "testserver",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": wsgi_input or io.BytesIO(body),
        **environ,
    }
    setup_testing_defaults(given)
    given = {
        k: v for k, v in given.items() if k not in environ or environ[k] is not None
    }
    started: list[Any] = []
    text = b"".join(application(given, lambda *args: started.extend(args)))
    return started[0], dict(started[1]), text


def keep_connection(case: TestCase) -> None:
    """Keep old connections: a request would close the one of the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
        case.addCleanup(signal.connect, close_old_connections)


def without_ids_and_times(body: bytes) -> str:
    """Return the body without ids, keys and times, to compare two answers."""
    text = re.sub(r'"id":[0-9]+', '"id":ID', body.decode())
    text = re.sub(r'"idempotency_key":"[0-9a-f-]{36}"', '"idempotency_key":KEY', text)
    return re.sub(r'"[0-9-]+T[0-9:.]+Z"', '"TIME"', text)


def item(wallet: Wallet, amount: Any = 5, key: Any = None) -> dict[str, Any]:
    """Return one deposit of `POST /deposits/`."""
    return {
        "wallet": str(wallet.uuid),
        "amount": amount,
        "idempotency_key": str(key or uuid.uuid4()),
    }


@contextmanager
def nothing_written() -> Iterator[None]:
    """Fail if the block adds, changes or removes a row of the app's tables."""
    before = _all_rows()
    yield
    assert _all_rows() == before


def _all_rows() -> dict[str, list[Any]]:
    rows = {}
    with connection.cursor() as cursor:
        for model in apps.get_app_config("wallets").get_models():
            table = connection.ops.quote_name(model._meta.db_table)
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1")
            rows[model.__name__] = cursor.fetchall()
    return rows


@contextmanager
def database_out_of_reach() -> Iterator[None]:
    """Let every new connection fail, as without a database server."""
    connection.close()
    saved = dict(connection.settings_dict)
    nowhere = {"NAME": "/nonexistent/database"} if _is_sqlite() else {"PORT": "1"}
    connection.settings_dict.update(nowhere)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(saved)


def _is_sqlite() -> bool:
    return connection.vendor == "sqlite"
