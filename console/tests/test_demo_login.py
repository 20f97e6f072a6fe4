"""The demo operator: on this machine only, always with the same password."""

import stat
import tempfile
from io import StringIO
from pathlib import Path

from django.conf import settings
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.test import TestCase, override_settings

from console.views.base import OPERATE


@override_settings(ALLOWED_HOSTS=settings.LOOPBACK_HOSTS)
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
        user = authenticate(username=username, password=password)
        self.assertTrue(user.is_staff)
        self.assertTrue(user.has_perm(OPERATE))
        self.assertFalse(user.is_superuser)

    def test_keeps_its_password(self):
        self.assertEqual(self.call(), self.call())
        mode = (self.folder / "demo-login").stat().st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    @override_settings(ALLOWED_HOSTS=["wallet.example.com"])
    def test_is_refused_where_others_can_reach_it(self):
        with self.assertRaisesMessage(CommandError, "another host"):
            self.call()
        self.assertFalse(self.folder.exists())
