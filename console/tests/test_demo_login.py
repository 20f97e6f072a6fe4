"""The demo operator exists on this machine only, always with the same password."""

import stat
import tempfile
from io import StringIO
from pathlib import Path
from unittest import mock

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TestCase, override_settings

from console import extensions
from console.access import OPERATE
from wallets.tests.base import quick_passwords


@override_settings(ALLOWED_HOSTS=settings.LOOPBACK_HOSTS)
@quick_passwords
class DemoLoginTest(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "var"

    def call(self):
        out = StringIO()
        call_command("demo_login", "--folder", str(self.folder), stdout=out)
        return out.getvalue().split()

    def test_can_log_in_and_act(self):
        username, password = self.call()
        form = {"username": username, "password": password}
        answer = self.client.post("/console/login", form, HTTP_HOST="localhost")
        self.assertEqual(answer.status_code, 302)
        user = User.objects.get(username=username)
        self.assertTrue(user.is_staff)
        self.assertTrue(user.has_perm(OPERATE))
        self.assertFalse(user.is_superuser)
        for link in extensions.links():
            app, _, model = link.model.rpartition(".")
            self.assertTrue(
                user.has_perms([f"{app}.add_{model}", f"{app}.change_{model}"])
            )

    def test_keeps_its_password(self):
        self.assertEqual(self.call(), self.call())
        mode = (self.folder / "demo-login").stat().st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def refuses(self, words):
        with self.assertRaisesMessage(CommandError, words):
            self.call()
        self.assertFalse(self.folder.exists())

    @override_settings(ALLOWED_HOSTS=["wallet.example.com"])
    def test_is_refused_where_others_can_reach_it(self):
        self.refuses("another host")

    def test_is_refused_on_a_database_that_others_may_use(self):
        with mock.patch.dict(connection.settings_dict, HOST="db.example.com"):
            self.refuses("another machine")

    def test_is_refused_beside_staff(self):
        User.objects.create_user("oscar", password="own", is_staff=True)
        self.refuses("users of its own")

    def test_never_changes_another_account_with_its_name(self):
        other = User.objects.create_user("demo", password="own")
        self.refuses("users of its own")
        other.refresh_from_db()
        self.assertTrue(other.check_password("own"))
