"""The checks of `check --deploy`: one line for each problem.

An error is a setting with which anyone could read or change payments. A warning is a
setting that is correct in some systems, but in most of them an oversight.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections

from wallets.services.operations import safeguards
from wallets.services.withdrawals import currency
from wallets.utils.database import durability

_ABILITIES = ("THIRD_PARTY_DEDUPES", "THIRD_PARTY_LOOKUP", "THIRD_PARTY_STATEMENT")


@register(Tags.security, deploy=True)
def bank_is_asked_in_secret(**_kwargs: Any) -> list[CheckMessage]:
    """Plain HTTP is only for a bank on this machine."""
    bank = urlsplit(settings.THIRD_PARTY_BASE_URL)
    if not bank.scheme or not bank.hostname:
        found = "has no scheme or no host: no payment can be sent."
    elif bank.scheme not in ("http", "https"):
        found = f"is {bank.scheme}://: no payment can be sent."
    elif bank.scheme == "https" or _is_loopback(bank.hostname):
        return []
    else:
        found = (
            "is http:// and not on this machine: others on the network can read and "
            "change payments."
        )
    return [
        Error(
            f"THIRD_PARTY_BASE_URL {found}",
            hint="Use the bank's https:// address.",
            id="wallets.E020",
        )
    ]


@register(Tags.security, deploy=True)
def metrics_ask_for_a_token(**_kwargs: Any) -> list[CheckMessage]:
    """`/metrics` shows totals of money."""
    if not settings.METRICS_ENABLED or settings.METRICS_TOKEN:
        return []
    if settings.API_AUTHENTICATION:
        return []  # a key is asked for
    return [
        Warning(
            "METRICS_ENABLED is set without METRICS_TOKEN: /metrics is open to anybody.",
            hint="Set METRICS_TOKEN, unless the proxy blocks the path.",
            id="wallets.W021",
        )
    ]


@register(Tags.security, deploy=True)
def callers_are_asked_who_they_are(**_kwargs: Any) -> list[CheckMessage]:
    """Without keys whoever reaches the API moves all money."""
    if settings.API_AUTHENTICATION:
        return []
    return [
        Warning(
            "API_AUTH is none: whoever reaches the API can move the money of all wallets.",
            hint="Set API_AUTH=keys (docs/access.md), unless another service in front of "
            "it asks who calls.",
            id="wallets.W025",
        )
    ]


@register(deploy=True)
def database_is_a_server(**_kwargs: Any) -> list[CheckMessage]:
    """SQLite is for one machine."""
    if not settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        return []
    return [
        Warning(
            "The database is SQLite: one writer at a time, and one machine.",
            hint="Set DATABASE_URL, or DB_ENGINE and DB_*: PostgreSQL is recommended.",
            id="wallets.W022",
        )
    ]


@register(deploy=True)
def broker_is_named(**_kwargs: Any) -> list[CheckMessage]:
    """Without a broker payments wait for the next sweep."""
    if os.environ.get("CELERY_BROKER_URL"):
        return []
    return [
        Warning(
            "CELERY_BROKER_URL is not set: the service uses a Redis on this machine.",
            hint="Set it; or run `manage.py run_sweeps`, which needs no broker.",
            id="wallets.W023",
        )
    ]


@register(deploy=True)
def abilities_are_declared(**_kwargs: Any) -> list[CheckMessage]:
    """Each ability of the bank must be declared, true or false."""
    missing = [name for name in _ABILITIES if not os.environ.get(name)]
    if not missing:
        return []
    return [
        Warning(
            f"Not declared: {', '.join(missing)}. They count as false; then lost answers "
            "need a review by an operator.",
            hint="Set each to true or false; docs/production.md says when.",
            id="wallets.W024",
        )
    ]


@register(Tags.database, deploy=True)
def server_keeps_commits(
    databases: Sequence[str] | None = None, **_kwargs: Any
) -> list[CheckMessage]:
    """A claim's COMMIT must outlive a crash: the bank is called as soon as it is done."""
    return [
        message
        for alias in databases or []
        for message in _lost_commits(alias, durability.settings_of(connections[alias]))
    ]


def _lost_commits(alias: str, found: Mapping[str, str]) -> list[CheckMessage]:
    """Return what is wrong with these settings of the server."""
    messages: list[CheckMessage] = [
        Error(
            f"The server of the database {alias!r} has {name}={found[name]}: a crash "
            "may lose the last commits, and a bank without dedupe is paid twice.",
            hint=f"Set {name}={safe} on the server (docs/production.md).",
            id="wallets.E026",
        )
        for name, safe in durability.unsafe(found).items()
    ]
    if durability.leaves_standby_behind(found):
        messages.append(
            Warning(
                f"The database {alias!r} has a synchronous standby, but "
                "synchronous_commit=local: commits do not wait for it.",
                hint="Use another value; otherwise a fail-over is a restore of a backup.",
                id="wallets.W027",
            )
        )
    return messages


@register(Tags.database, deploy=True)
def bank_pays_what_is_scheduled(
    databases: Sequence[str] | None = None, **_kwargs: Any
) -> list[CheckMessage]:
    """No withdrawal waits because the bank does not pay its wallet's currency."""
    return [
        Warning(
            f"{count} withdrawals of the database {alias!r} have not ended, and are not "
            f"paid: their wallets have another currency than the bank pays "
            f"({settings.THIRD_PARTY_CURRENCY}).",
            hint="docs/bank.md, 'The currency', lists them and says what to do.",
            id="wallets.W028",
        )
        for alias in databases or []
        if safeguards.is_migrated(connections[alias])
        if (count := currency.not_payable().using(alias).count())
    ]


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
