"""The base of the commands for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from wallets.errors import LostRace, Refusal

# Parts of the errors about missing tables or columns of SQLite, PostgreSQL and MySQL.
_MISSING = ("no such ", "does not exist", "doesn't exist", "Unknown column")


@contextmanager
def refused(told: str) -> Iterator[None]:
    """Turn a refusal of a service into one line that begins with `told`."""
    try:
        yield
    except (Refusal, LostRace) as error:
        raise CommandError(f"{told}: {error}") from None


class DatabaseCommand(BaseCommand):
    """A command that prints trouble with the database as one line, without a stack.

    `--traceback` shows the stack.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(in_words(error)) from error


def in_words(error: Exception) -> str:
    """Return in one line why the database cannot be used."""
    said = " ".join(str(error).split())[:200] or type(error).__name__
    if any(words in said for words in _MISSING):
        return f"The database is not migrated ({said}): run `manage.py migrate` first."
    return f"The database cannot be used: {said}"
