"""What removable applications add to the API and to the health checks.

The setting `API_EXTENSIONS` names the applications; the product knows none of them. Each
one has these modules:

- `urls`, with `ROUTES`: its paths (`wallets.views.http.route.Route`);
- `problems`, with `PROBLEMS`: what it answers besides the problems of the product;
- `views.schema`, with `OPERATIONS` (the documentation of its operations, by view and
  method), `PATHS` (the parameters of its paths) and `EXAMPLES` (by operation).

The setting `API_OPTIONAL_EXTENSIONS` names those that are off by default: the committed
page of problems has theirs, whether they are on or not.

The setting `HEALTH_EXTENSIONS` names those that have a module `health` with `CHECKS`: the
functions, by the name of the check in /readyz, that return a `Health` for a moment of the
database's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any

from django.conf import settings


def of_each(module: str, name: str) -> Iterator[Any]:
    """Yield what each extension has under this name in this module."""
    for application in settings.API_EXTENSIONS:
        yield getattr(import_module(f"{application}.{module}"), name)


def of_each_optional(module: str, name: str) -> Iterator[Any]:
    """Yield the same of each extension that is off by default, also if it is off."""
    for application in settings.API_OPTIONAL_EXTENSIONS:
        yield getattr(import_module(f"{application}.{module}"), name)


@dataclass(frozen=True)
class Gauge:
    """A figure of /metrics; `name` is without the prefix "wallet_"."""

    name: str
    text: str
    value: float


@dataclass(frozen=True)
class Health:
    """What is wrong, in words (empty: nothing), and figures."""

    trouble: str
    gauges: Sequence[Gauge] = ()


def health_checks() -> dict[str, Callable[[datetime], Health]]:
    """Return the health checks of the applications, by name."""
    found: dict[str, Callable[[datetime], Health]] = {}
    for application in settings.HEALTH_EXTENSIONS:
        found |= import_module(f"{application}.health").CHECKS
    return found
