"""`manage.py check`: Django's, with one line for a database that is away."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.check import Command as DjangosCheck
from django.db import DatabaseError, InterfaceError, connections

from wallets.management.base import in_words


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
        super().handle(*app_labels, **options | {"databases": usable or None})
        if away:
            raise CommandError("A database could not be checked.")
