"""A silent database: noticed in seconds, answered with 503; then work continues.

There are two kinds of silence. The kernel of a frozen proxy or server still
acknowledges packets, so only the driver's own time-out ends the wait. In a test network
packets are lost; then the kernel ends the connection.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from unittest import skipUnless

from django.db import InterfaceError, OperationalError, connection
from django.test import SimpleTestCase

from drills.proxy import Proxy
from wallets.models.transaction import Transaction
from wallets.services.wallet import WalletService
from wallets.tests.api import Api
from wallets.tests.base import CommittingTestCase
from wallets.tests.marks import slow
from wallets.tests.pgbouncer import at_port
from wallets.utils.database.transactions import read_snapshot, run_in_transaction

VENDOR = connection.vendor
POSTGRESQL = VENDOR == "postgresql"
on_a_server = skipUnless(VENDOR != "sqlite", "SQLite has no server")
on_postgresql = skipUnless(POSTGRESQL, "the driver of PostgreSQL")
# The longest wait on a busy machine; without time limits a wait would be endless.
BOUND_SECONDS = 60
IMPATIENT = (
    {"connect_timeout": 2, "statement_timeout": 0.5}
    if POSTGRESQL
    else {"connect_timeout": 2, "read_timeout": 2, "write_timeout": 2}
)


def server_port() -> int:
    return int(connection.settings_dict["PORT"] or (5432 if POSTGRESQL else 3306))


class SilenceTestCase(CommittingTestCase):
    """The database is behind a proxy that can fall silent."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy = Proxy(server_port())
        self.addCleanup(self.proxy.close)
        stack = ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(at_port(self.proxy.port, **IMPATIENT))

    def tearDown(self) -> None:
        self.proxy.heal()
        connection.close()
        super().tearDown()

    def noticed(self, work: Callable[[], object]) -> None:
        began = time.monotonic()
        with self.assertRaises((OperationalError, InterfaceError)):
            work()
        self.assertLess(time.monotonic() - began, BOUND_SECONDS)


@on_a_server
class StandingStillTest(Api, SilenceTestCase):
    @slow
    def test_is_answered_503_and_health_does_not_depend_on_it(self) -> None:
        self.assertEqual(
            self.post(self.path("deposit"), {"amount": 1}).status_code, 200
        )
        self.proxy.black_hole()
        for connected in (True, False):
            with self.subTest(connected=connected):
                began = time.monotonic()
                with self.assertLogs("wallets.views.problems.from_exceptions"):
                    response = self.post(
                        self.path("deposit"), {"amount": 1}, key=uuid.uuid4()
                    )
                self.assert_problem(response, 503, "service_unavailable")
                self.assertEqual(response.headers["Retry-After"], "5")
                self.assertLess(time.monotonic() - began, BOUND_SECONDS)
                self.assertEqual(self.get("/healthz").status_code, 200)
        self.proxy.heal()
        self.assertEqual(
            self.post(self.path("deposit"), {"amount": 1}).status_code, 200
        )
        self.assert_money(self.alice, balance=2)

    @slow
    def test_at_any_moment_of_a_withdrawal_is_noticed_and_nothing_is_half(self) -> None:
        WalletService.deposit(self.alice.uuid, 100)
        moments = 4
        for answers in range(1, moments):
            WalletService.deposit(self.alice.uuid, 1)  # opens the connection
            self.proxy.black_hole_after(answers)
            with (
                self.subTest(answers=answers),
                suppress(OperationalError, InterfaceError),
            ):
                began = time.monotonic()
                self.due_withdrawal(1)
            self.assertLess(time.monotonic() - began, BOUND_SECONDS)
            self.proxy.heal()
            self.proxy.cut()  # the server notices the end, and releases the locks
            # A statement may have been answered before the silence.
            connection.close()
        withdrawals = Transaction.objects.filter(scheduled_for__isnull=False)
        self.assertLessEqual(withdrawals.count(), moments - 1)
        self.assert_money(self.alice, balance=100 + moments - 1)


@on_a_server
class VanishedClientTest(CommittingTestCase):
    """A client that vanished, while its transaction locks a wallet…"""

    @slow
    def test_holds_the_lock_for_seconds_only(self) -> None:
        if VENDOR == "mysql" and not connection.mysql_is_mariadb:
            self.skipTest("MySQL has no time-out for this, but 300 s for a session")
        client = connection.copy()
        client.settings_dict["OPTIONS"]["statement_timeout"] = 0.5
        self.addCleanup(client.close)
        with client.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT id FROM wallets_wallet FOR UPDATE")
        WalletService.deposit(self.alice.uuid, 1)
        self.assert_money(self.alice, balance=1)


@on_postgresql
class TimeoutTest(SilenceTestCase):
    def test_ends_with_a_closed_connection(self) -> None:
        connection.ensure_connection()
        session = connection.connection
        self.proxy.black_hole()
        self.noticed(lambda: self.alice.refresh_from_db())
        self.assertTrue(session.closed)

    def test_is_not_tried_again(self) -> None:
        runs = []

        def work() -> None:
            runs.append(1)
            self.alice.refresh_from_db()

        connection.ensure_connection()
        self.proxy.black_hole()
        self.noticed(lambda: run_in_transaction(work))
        self.assertLessEqual(len(runs), 1)

    def test_does_not_apply_to_long_reads(self) -> None:
        with read_snapshot(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(3)")
        self.assertEqual(connection.connection.silence_seconds, 2.5)

    def test_ends_long_statements_of_requests(self) -> None:
        with (
            connection.cursor() as cursor,
            self.assertRaisesMessage(OperationalError, "statement timeout"),
        ):
            cursor.execute("SELECT pg_sleep(30)")


@on_postgresql
class SocketTest(SimpleTestCase):
    databases = {"default"}

    def test_is_told_to_notice_a_dead_peer(self) -> None:
        connection.ensure_connection()
        with socket.socket(fileno=os.dup(connection.connection.fileno())) as sock:
            options = [
                sock.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_USER_TIMEOUT,
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                )
            ]
        self.assertEqual(options, [10_000, 5, 2, 3])


def can_make_networks() -> str:
    """Return why no network can be created here; "" if one can."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        return "networks need root and iproute2"
    name = f"wallet-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return "no rights to make a network" if made.returncode else ""


class Network:
    """A network of two addresses. Its packets to our side can be dropped."""

    def __init__(self) -> None:
        self._name = f"wallet-{os.getpid()}"
        mine, self._theirs = f"wa{os.getpid()}", f"wb{os.getpid()}"
        third = os.getpid() % 250
        self.address, ours = f"10.213.{third}.2", f"10.213.{third}.1"
        self._ours = ours
        self._ip("netns", "add", self._name)
        try:
            self._ip("link", "add", mine, "type", "veth", "peer", "name", self._theirs)
            self._ip("link", "set", self._theirs, "netns", self._name)
            self._ip("addr", "add", f"{ours}/24", "dev", mine)
            self._ip("link", "set", mine, "up")
            self._inside("addr", "add", f"{self.address}/24", "dev", self._theirs)
            self._inside("link", "set", self._theirs, "up")
        except BaseException:
            self.close()
            raise

    def listener(self) -> socket.socket:
        """Return a listening socket in the network, made by a thread that enters it."""
        made: list[socket.socket] = []

        def listen() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path("/run/netns", self._name).open() as network:
                assert libc.setns(network.fileno(), 0x40000000) == 0  # CLONE_NEWNET
            made.append(socket.create_server((self.address, 0)))

        thread = threading.Thread(target=listen)
        thread.start()
        thread.join(10)
        return made[0]

    def lose_everything(self) -> None:
        """Drop all packets from the network to our side, also acknowledgements."""
        self._inside("route", "add", "blackhole", f"{self._ours}/32")

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True)

    def _inside(self, *words: str) -> None:
        self._ip("-n", self._name, *words)

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def pass_on(listener: socket.socket, port: int, opened: list[socket.socket]) -> None:
    """Connect each client to the server; add the open sockets to `opened`."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            opened += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()


@on_a_server
class VanishingPacketsTest(CommittingTestCase):
    """Lost packets, with the kernel's time-out; the driver's is off where possible."""

    def setUp(self) -> None:
        super().setUp()
        if why := can_make_networks():
            if os.environ.get("WALLET_REQUIRE_SERVERS") == "1" and os.geteuid() == 0:
                self.fail(why)
            self.skipTest(why)
        self.network = Network()
        self.addCleanup(self.network.close)
        listener = self.network.listener()
        self.opened = [listener]
        self.addCleanup(self.end_all)
        threading.Thread(
            target=pass_on, args=(listener, server_port(), self.opened), daemon=True
        ).start()
        options: dict[str, Any] = (
            {"statement_timeout": 0, "tcp_user_timeout": 2000, "connect_timeout": 2}
            if POSTGRESQL
            else IMPATIENT
        )
        self.over_there = ExitStack()
        self.addCleanup(self.over_there.close)
        self.over_there.enter_context(at_port(listener.getsockname()[1], **options))
        connection.settings_dict["HOST"] = self.network.address

    def end_all(self) -> None:
        for sock in self.opened:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    @slow
    def test_are_noticed_in_seconds(self) -> None:
        WalletService.deposit(self.alice.uuid, 1)
        self.network.lose_everything()
        began = time.monotonic()
        with self.assertRaises((OperationalError, InterfaceError)):
            WalletService.deposit(self.alice.uuid, 1)
        self.assertLess(time.monotonic() - began, BOUND_SECONDS)
        self.over_there.close()
        # The deposit was made or not, and nothing is half done.
        self.alice.refresh_from_db()
        self.assertIn(self.alice.balance, (1, 2))
