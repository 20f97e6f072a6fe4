"""WSGI entry point: `gunicorn wallet.wsgi`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")
django.setup(set_prefix=False)

from wallets.views.http.wsgi import Handler  # noqa: E402

application = Handler()
