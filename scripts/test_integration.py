"""The commands in docs/integration.md work for a new user: each block, unchanged."""

from __future__ import annotations

import contextlib
import random
import signal
import socket

import pytest

from test_readme import ROOT, Normal, Shell, blocks
from test_run import RunTestCase


def two_free_ports() -> int:
    """Return a free port whose successor is free, too.

    Both are below those that the system gives to clients, so nobody takes them later.
    """
    for port in random.sample(range(20000, 30000, 2), 100):
        with contextlib.ExitStack() as taken, contextlib.suppress(OSError):
            for one in (port, port + 1):
                taken.enter_context(socket.create_server(("127.0.0.1", one)))
            return port
    raise AssertionError("no two free ports")


@pytest.mark.slow
@pytest.mark.timeout(600)
class IntegrationWalkTest(RunTestCase):
    def test_works_unchanged(self) -> None:
        self.env |= {"API_AUTH": "keys", "HOOK_PORT": str(two_free_ports())}
        process = self.start()
        known = ("HOME", "PATH", "PORT", "BANK_PORT", "WALLET_VAR", "HOOK_PORT")
        env = {name: self.env[name] for name in known}
        shell = Shell(env, self.folder / "var" / "shell")
        here, recorded = Normal(), Normal()
        walk = blocks((ROOT / "docs" / "integration.md").read_text())
        self.assertGreater(len(walk), 7)
        for block, answer in walk:
            with self.subTest(block=block):
                self.assertEqual(here(shell.paste(block)), recorded(answer))
        for command in ("verify_ledger", "verify_events"):
            said = shell.paste(f"scripts/manage {command} && echo clean")
            self.assertTrue(said.endswith("clean"), said)
        process.send_signal(signal.SIGINT)
        self.assert_gone(30)
