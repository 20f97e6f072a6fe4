"""`manage.py check`: Django's, with one line for a database that is away.

With `--database` it also warns of migrations that are not applied. `migrate` runs all
registered checks before it applies them, so this one is registered for `check` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.checks.registry import registry
from django.core.management.base import CommandError
from django.core.management.commands.check import Command as DjangosCheck
from django.db import DatabaseError, InterfaceError, connections

from wallets.management.base import in_words
from wallets.services.operations import safeguards


class Command(DjangosCheck):
    def handle(self, *app_labels: Any, **options: Any) -> None:
        usable, away = [], []
        for alias in options["databases"] or []:
            try:
                connections[alias].ensure_connection()
            except (DatabaseError, InterfaceError) as error:
                away.append(
                    f"The database {alias!r} was not checked. {in_words(error)}"
                )
            else:
                usable.append(alias)
        for line in away:
            self.stderr.write(line)
        with _registered():
            super().handle(*app_labels, **options | {"databases": usable or None})
        if away:
            raise CommandError("A database could not be checked.")


@contextmanager
def _registered() -> Iterator[None]:
    register(schema_can_be_checked, Tags.database)
    try:
        yield
    finally:
        registry.registered_checks.discard(schema_can_be_checked)


def schema_can_be_checked(
    databases: Sequence[str] | None = None, **_kwargs: Any
) -> list[CheckMessage]:
    """All migrations are applied. For `check` alone."""
    return [
        Warning(
            f"The schema of the database {alias!r} is {why}.",
            hint="Run `manage.py migrate`, again if it was interrupted.",
            id="wallets.W030",
        )
        for alias in databases or []
        if (why := safeguards.unchecked(connections[alias]))
    ]
