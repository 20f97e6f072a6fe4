"""System checks: conditions of the configuration that money depends on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections

from wallets.services.operations import safeguards
from wallets.services.payouts import belief
from wallets.services.withdrawals.currency import ANY
from wallets.utils.bank.interface import Abilities
from wallets.utils.database.read_only import is_read_only
from wallets.utils.database.transactions import run_in_transaction
from wallets.utils.words import DIGITS


@register()
def limits_are_in_order(**_kwargs: Any) -> list[CheckMessage]:
    """The bank's deadline < soft < hard limit < lease < quiet period."""
    limits = [
        ("THIRD_PARTY_DEADLINE", settings.THIRD_PARTY_DEADLINE),
        (
            "WITHDRAWAL_DUE_INTERVAL + 2 * THIRD_PARTY_DEADLINE"
            " + WITHDRAWAL_RECORDING_TIME",
            # The last claim of a sweep waits for one call before its own, and its
            # answer is kept while the database is away.
            settings.WITHDRAWAL_DUE_INTERVAL
            + 2 * settings.THIRD_PARTY_DEADLINE
            + settings.WITHDRAWAL_RECORDING_TIME,
        ),
        ("WITHDRAWAL_SOFT_TIME_LIMIT", settings.WITHDRAWAL_SOFT_TIME_LIMIT),
        ("WITHDRAWAL_HARD_TIME_LIMIT", settings.WITHDRAWAL_HARD_TIME_LIMIT),
        ("WITHDRAWAL_LEASE", settings.WITHDRAWAL_LEASE),
        ("WITHDRAWAL_QUIET_PERIOD", settings.WITHDRAWAL_QUIET_PERIOD),
    ]
    return [
        Error(
            f"{small} ({low:g} s) must be less than {large} ({high:g} s).",
            hint="A sender must be dead before anybody concludes that it did not pay.",
            id="wallets.E001",
        )
        for (small, low), (large, high) in pairwise(limits)
        if not low < high  # also if one is not a number
    ]


@register()
def currencies_exist(**_kwargs: Any) -> list[CheckMessage]:
    """Both currencies must be codes with a minor unit; the bank may pay any."""
    named = {"DEFAULT_CURRENCY": settings.DEFAULT_CURRENCY}
    if settings.THIRD_PARTY_CURRENCY != ANY:
        named["THIRD_PARTY_CURRENCY"] = settings.THIRD_PARTY_CURRENCY
    return [
        Error(
            f"{name} ({code!r}) is no currency of ISO 4217 with a minor unit.",
            hint="Use its three upper-case letters, such as EUR.",
            id="wallets.E007",
        )
        for name, code in named.items()
        if code not in DIGITS
    ]


@register()
def not_found_can_be_believed(**_kwargs: Any) -> list[CheckMessage]:
    """The look-up window must be longer than the time until "not found" counts."""
    if not settings.THIRD_PARTY_LOOKUP:
        return []
    declared = Abilities(booking_time=settings.THIRD_PARTY_BOOKING_TIME)
    needed = belief.quiet_period(declared) + belief.distance(declared)
    if needed < settings.THIRD_PARTY_LOOKUP_WINDOW:
        return []
    return [
        Warning(
            f"THIRD_PARTY_LOOKUP_WINDOW ({settings.THIRD_PARTY_LOOKUP_WINDOW:g} s) is "
            f"over before 'not found' can be believed ({needed:g} s).",
            hint="Each payment that the bank does not show will wait for an operator.",
            id="wallets.W010",
        )
    ]


@register(Tags.security, deploy=True)
def secret_key_is_own(**_kwargs: Any) -> list[CheckMessage]:
    """Machines of one service must share one key, which outlives each machine."""
    if not settings.SECRET_KEY_IS_MADE:
        return []
    return [
        Error(
            "SECRET_KEY is not set: this machine made one of its own.",
            hint="Set the environment variable SECRET_KEY to a long random value.",
            id="wallets.E002",
        )
    ]


# The required settings of our sessions on each engine, with the id of the error.
_SESSION_RULES = {
    "postgresql": [
        ("SHOW transaction_isolation", "read committed", "E003"),
        ("SELECT current_setting('synchronous_commit') <> 'off'", "true", "E005"),
    ],
    "mysql": [
        ("SELECT @@session.sql_mode", "strict_all_tables", "E004"),
        ("SELECT @@session.{isolation}", "read-committed", "E003"),
    ],
    "sqlite": [
        ("PRAGMA journal_mode", "wal", "E005"),
        ("PRAGMA synchronous", "2", "E005"),
        ("PRAGMA foreign_keys", "1", "E005"),
    ],
}


@register(Tags.database)
def sessions_are_safe(
    databases: Sequence[str] | None = None, **_kwargs: Any
) -> list[CheckMessage]:
    """READ COMMITTED, strict input, and durable commits."""
    messages: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        connection.ensure_connection()
        mode = getattr(connection, "transaction_mode", "")  # SQLite's
        if connection.vendor == "sqlite" and mode != "IMMEDIATE":
            messages.append(_unsafe(alias, "IMMEDIATE", "transaction mode", "E005"))
        for query, expected, code in _SESSION_RULES.get(connection.vendor, []):
            found = _ask(connection, query)
            if expected not in found.lower():
                messages.append(_unsafe(alias, expected, f"{query}: {found}", code))
        if is_read_only(connection):
            messages.append(
                Error(
                    f"The database {alias!r} accepts no writes.",
                    hint="Is it a standby, or the old primary of a fail-over?",
                    id="wallets.E029",
                )
            )
    return messages


def _ask(connection: Any, query: str) -> str:
    if "{isolation}" in query:
        # MariaDB has MySQL's new name only since 11.1.
        old = connection.mysql_is_mariadb and connection.mysql_version < (11, 1)
        name = "tx_isolation" if old else "transaction_isolation"
        query = query.format(isolation=name)

    def ask() -> str:
        with connection.cursor() as cursor:
            cursor.execute(query)
            (found,) = cursor.fetchone()
        return str(found)

    # Behind a pooler only the settings of a transaction count.
    return run_in_transaction(ask) if getattr(connection, "pooled", False) else ask()


def _unsafe(alias: str, expected: str, found: str, code: str) -> Error:
    return Error(
        f"The database {alias!r} must have {expected} ({found}).",
        hint="wallet/databases.py sets it; look for OPTIONS or a server that overrides.",
        id=f"wallets.{code}",
    )


@register(Tags.database)
def schema_is_whole(
    databases: Sequence[str] | None = None, **_kwargs: Any
) -> list[CheckMessage]:
    """No trigger, constraint or column type is missing, as after an incomplete restore.

    Before all migrations are applied it reports nothing: `manage.py check` itself does.
    """
    return [
        Error(
            f"The database {alias!r}: {lost}.",
            hint="docs/production.md, 'Missing triggers and constraints', says what to do.",
            id="wallets.E006",
        )
        for alias in databases or []
        if safeguards.is_migrated(connections[alias])
        for lost in safeguards.lost(connections[alias])
    ]
