"""What all models share, and the one limit on money."""

from django.db import models
from django.utils import timezone

# 10**15 minor units: far below 2**63, where a database overflows, and below 2**53, where
# JavaScript clients lose the last digit.
MAX_MONEY = 10**15


class BaseModel(models.Model):
    """Adds when a row was written and last changed (UTC)."""

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True
