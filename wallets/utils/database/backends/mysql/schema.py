"""Changes of MySQL's and MariaDB's schema that can be repeated after an interruption.

These servers commit each change alone. So a migration that is killed, or ended by an
error, is half done, and is not recorded. Repeated from its beginning, or undone, it
leaves out each change that was made before.

Names identify what is changed: no migration adds and then removes the same name.
"""

from __future__ import annotations

import logging
from typing import Any

from django.db import DatabaseError
from django.db.backends.mysql import schema

logger = logging.getLogger(__name__)

# Table exists, unknown table, duplicate column, duplicate name of a key, nothing to drop,
# duplicate name of a constraint, no such CHECK, duplicate name of a CHECK.
_DONE_BEFORE = {1050, 1051, 1060, 1061, 1091, 1826, 3821, 3822}
# MariaDB's error for a foreign key that exists, among others, and InnoDB's number in it.
_NOT_CREATED, _DUPLICATE = 1005, "errno: 121"


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """Leaves out, with a warning, what an interrupted migration has done."""

    def execute(self, sql: Any, params: Any = ()) -> None:
        """Run a statement, unless it was run before.

        :raises DatabaseError: any other error.
        """
        try:
            super().execute(sql, params)
        except DatabaseError as error:
            number, said = error.args[0], str(error)
            created = number == _NOT_CREATED and _DUPLICATE in said
            if number not in _DONE_BEFORE and not created:
                raise
            logger.warning("left out, because it was done before: %s", said)

    def remove_constraint(self, model: Any, constraint: Any) -> None:
        """Drop a constraint that is there.

        Before it drops a unique one, Django makes an index for a foreign key that would
        have none; one that is gone already must not lead to that.
        """
        if self._has(model, constraint.name):
            super().remove_constraint(model, constraint)

    def remove_index(self, model: Any, index: Any) -> None:
        """Drop an index that is there, for the same reason."""
        if self._has(model, index.name):
            super().remove_index(model, index)

    def _has(self, model: Any, name: str) -> bool:
        table = model._meta.db_table
        with self.connection.cursor() as cursor:
            found = self.connection.introspection.get_constraints(cursor, table)
        return name in found
