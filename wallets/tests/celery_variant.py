"""The Celery app with changes from the environment, for workers that a test starts."""

import json
import os

from wallet.celery import app

app.conf.update(json.loads(os.environ.get("CELERY_VARIANT", "{}")))
