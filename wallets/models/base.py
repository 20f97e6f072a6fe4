"""What all models share, and the limit on money."""

from datetime import datetime

from django.db import models

from wallets.utils.database.transactions import database_now

# 10**15 minor units: far below 2**63, the limit of a column, and below 2**53, the limit
# of exact integers in JavaScript.
MAX_MONEY = 10**15


class WrittenAtField(models.DateTimeField):
    """The time when a row was written (UTC), by the database's clock, not the host's.

    Callers set it. Default: the row's `created_at`, or one query of the clock when the
    row is inserted. An UPDATE must set it explicitly.
    """

    def pre_save(self, model_instance: models.Model, add: bool) -> datetime | None:
        """Return the value to write, and set it on the instance."""
        moment: datetime | None = getattr(model_instance, self.attname)
        if add and moment is None:
            moment = getattr(model_instance, "created_at", None) or database_now()
            setattr(model_instance, self.attname, moment)
        return moment


class BaseModel(models.Model):
    """Adds the times when a row was written and last changed (UTC)."""

    created_at = WrittenAtField(editable=False)
    updated_at = WrittenAtField(editable=False)

    class Meta:
        abstract = True
