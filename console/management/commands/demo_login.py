"""`manage.py demo_login`: a demo operator for this machine, with its password."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.management.base import CommandError
from django.db import connection
from django.db.models import Q

from console import extensions
from wallets.management.base import DatabaseCommand

USERNAME = "demo"
# Marks the user as ours; no address can exist there (RFC 2606).
EMAIL = "demo@localhost.invalid"
LOCAL_DATABASES = {"", "localhost", "127.0.0.1", "::1"}


class Command(DatabaseCommand):
    help = "Create a demo operator, where only loopback is served; print its password."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--folder",
            type=Path,
            default=settings.BASE_DIR / "var",
            help="where the password is kept, so that it stays the same",
        )

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        self._refuse_where_it_could_hurt()
        password = _password(folder / "demo-login")
        user, _ = User.objects.get_or_create(username=USERNAME, email=EMAIL)
        if not user.check_password(password):
            user.set_password(password)
        user.is_staff = user.is_active = True
        user.save()
        user.user_permissions.set(Permission.objects.filter(_permissions()))
        self.stdout.write(f"{USERNAME} {password}")

    def _refuse_where_it_could_hurt(self) -> None:
        """Refuse systems of other users: the password is in a file."""
        if set(settings.ALLOWED_HOSTS) - set(settings.LOOPBACK_HOSTS):
            raise CommandError(
                "ALLOWED_HOSTS names another host than this machine: use createsuperuser."
            )
        host = connection.settings_dict["HOST"]
        if host not in LOCAL_DATABASES and not host.startswith("/"):
            raise CommandError(
                "The database is on another machine: use createsuperuser."
            )
        others = User.objects.exclude(username=USERNAME, email=EMAIL)
        if others.filter(Q(is_staff=True) | Q(username=USERNAME)).exists():
            raise CommandError("This system has users of its own: log in as one.")


def _permissions() -> Q:
    """To see everything and to act, also on the pages of removable applications."""
    ours = Q(content_type__app_label="wallets")
    found = ours & (Q(codename__startswith="view_") | Q(codename="change_transaction"))
    for link in extensions.links():
        application, _, model = link.model.rpartition(".")
        found |= Q(content_type__app_label=application, content_type__model=model)
    return found


def _password(file: Path) -> str:
    """Return the password in the file, which only its owner may read."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(12) + "\n")
    return file.read_text().strip()
