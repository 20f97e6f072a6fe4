"""The tests of the API again, with the ASGI application."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from unittest import TestCase, skipUnless

from django.db import connection
from django.test import SimpleTestCase

from wallets.tests import marks
from wallets.tests.api import Api
from wallets.tests.asgi import AsgiClient

# Batches use other statements, on each engine.
BATCHED = (
    "deposit",
    "deposit_many",
    "idempotency",
    "reschedule",
    "return",
    "statement",
    "transaction_list",
    "transactions",
    "transfer",
    "wallet",
    "wallet_life",
    "wallet_list",
    "withdraw",
)
OTHERS = (
    "bad_input",
    "correction",
    "docs",
    "errors",
    "health",
    "messages",
    "paths",
    "queries",
)

on_one_engine = skipUnless(
    connection.vendor == "sqlite",
    "how it is read and answered has nothing to do with the engine: shown on SQLite",
)


def _through_asgi(case: type[TestCase]) -> type[TestCase]:
    name = f"Asgi{case.__name__}"
    members = {"client_class": AsgiClient, "__module__": __name__}
    return marks.slow(type(name, (case,), members))


for _module in BATCHED + OTHERS:
    _found = importlib.import_module(f"wallets.tests.test_api_{_module}")
    for _name, _case in inspect.getmembers(_found, inspect.isclass):
        if issubclass(_case, Api) and _case.__module__ == _found.__name__:
            _made = _through_asgi(_case)
            globals()[f"Asgi{_name}"] = (
                _made if _module in BATCHED else on_one_engine(_made)
            )


class EveryModuleTest(SimpleTestCase):
    def test_of_the_api_is_in_this_suite(self) -> None:
        files = Path(__file__).parent.glob("test_api_*.py")
        known = {one.stem.removeprefix("test_api_") for one in files}
        # That one starts servers of its own, of both transports.
        self.assertEqual(known - {"server"}, set(BATCHED + OTHERS))
