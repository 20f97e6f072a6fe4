"""ASGI entry point: the API in batches, everything else by Django."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")
django.setup(set_prefix=False)

from wallets.asgi.application import Application  # noqa: E402 (needs the settings)
from wallets.asgi.deadlines import Deadlines  # noqa: E402

application = Deadlines(Application())
