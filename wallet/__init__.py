"""Project configuration. Importing it makes the Celery app known to Django."""

from wallet.celery import app as celery_app

__all__ = ["celery_app"]
