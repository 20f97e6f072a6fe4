"""`manage.py wallet`."""

from __future__ import annotations

import uuid
from io import StringIO

from django.core.management import CommandError, call_command

from wallets.tests.base import WalletTestCase

WHO = ("--reason", "a letter", "--by", "oscar")


class WalletCommandTest(WalletTestCase):
    def run_it(self, *arguments: object) -> str:
        out = StringIO()
        call_command("wallet", *map(str, arguments), stdout=out)
        return out.getvalue()

    def test_freezes_unfreezes_closes_and_shows(self):
        uuid_ = self.alice.uuid
        for arguments, state in (
            (("freeze", uuid_, "--direction", "out", *WHO), "frozen_out"),
            (("freeze", uuid_, "--reason", "x", "--actor", "oscar"), "frozen"),
            (("unfreeze", uuid_, *WHO), "active"),
            (("close", uuid_, *WHO), "closed"),
            (("show", uuid_), "closed"),
        ):
            with self.subTest(arguments):
                self.assertIn(f"{uuid_} {state},", self.run_it(*arguments))
        self.assertIn("frozen by oscar: a letter", self.run_it("show", uuid_))

    def test_says_in_one_line_why_not(self):
        self.deposit(5)
        for arguments, words in (
            (
                ("close", self.alice.uuid, *WHO),
                "Nothing was changed: The wallet is not empty",
            ),
            (("freeze", uuid.uuid4(), *WHO), "There is no wallet"),
            (("show", uuid.uuid4()), "There is no wallet"),
            (("close", "nobody", *WHO), "'nobody' is no UUID"),
            (("freeze", self.alice.uuid, "--by", "oscar"), "--reason"),
        ):
            with (
                self.subTest(arguments),
                self.assertRaisesMessage(CommandError, words),
            ):
                self.run_it(*arguments)
