"""Expressions of constraints, the same on each engine."""

from __future__ import annotations

from typing import Any

from django.db.models import Func, TextField
from django.db.models.sql.compiler import SQLCompiler


class Joined(Func):
    """The values of columns that are never NULL as one text, with spaces between them.

    A list of allowed texts is then the list of allowed rows: if each of them has as
    many spaces as there are gaps between the columns, no value can contain one.
    """

    function = "CONCAT_WS"
    template = "%(function)s(' ', %(expressions)s)"
    output_field = TextField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: Any, **context: Any
    ) -> tuple[str, Any]:
        """Return the expression of SQLite, whose older versions have no CONCAT_WS."""
        return self.as_sql(
            compiler,
            connection,
            template="(%(expressions)s)",
            arg_joiner=" || ' ' || ",
            **context,
        )
