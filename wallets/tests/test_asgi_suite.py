"""The API's own tests, through the ASGI application."""

from __future__ import annotations

import importlib
import inspect
from unittest import TestCase

from wallets.tests import marks
from wallets.tests.api import Api
from wallets.tests.asgi import AsgiClient

MODULES = (
    "bad_input",
    "deposit",
    "deposit_many",
    "errors",
    "health",
    "idempotency",
    "statement",
    "transactions",
    "wallet",
    "withdraw",
)


def _through_asgi(case: type[TestCase]) -> type[TestCase]:
    name = f"Asgi{case.__name__}"
    members = {"client_class": AsgiClient, "__module__": __name__}
    return marks.slow(type(name, (case,), members))


for _module in MODULES:
    _found = importlib.import_module(f"wallets.tests.test_api_{_module}")
    for _name, _case in inspect.getmembers(_found, inspect.isclass):
        if issubclass(_case, Api) and _case.__module__ == _found.__name__:
            globals()[f"Asgi{_name}"] = _through_asgi(_case)
