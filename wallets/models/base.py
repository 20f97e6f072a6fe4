"""What all models share, and the one limit on money."""

from datetime import datetime

from django.db import models

from wallets.utils.database.transactions import database_now

# 10**15 minor units: far below 2**63, where a database overflows, and below 2**53, where
# JavaScript clients lose the last digit.
MAX_MONEY = 10**15


class WrittenAtField(models.DateTimeField):
    """When a row was written (UTC), by the database's clock: never by this host's.

    Who writes a row names it. Who does not gets the row's `created_at`, or one query of
    the clock when the row is inserted. Nothing sets it later: an UPDATE names it.
    """

    def pre_save(self, model_instance: models.Model, add: bool) -> datetime | None:
        """Return what is written, and put it on the instance."""
        moment: datetime | None = getattr(model_instance, self.attname)
        if add and moment is None:
            moment = getattr(model_instance, "created_at", None) or database_now()
            setattr(model_instance, self.attname, moment)
        return moment


class BaseModel(models.Model):
    """Adds when a row was written and last changed (UTC)."""

    created_at = WrittenAtField(editable=False)
    updated_at = WrittenAtField(editable=False)

    class Meta:
        abstract = True
