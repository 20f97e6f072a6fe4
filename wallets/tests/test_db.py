"""Transactions that run again: after which errors, how often, and never half.

A proxy in front of the database really cuts connections.
"""

from __future__ import annotations

import logging
import math
import re
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from unittest import mock, skipIf, skipUnless

from django.conf import settings
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.test import override_settings
from django.utils import timezone

from wallets.errors import (
    IllegalTransition,
    InsideTransaction,
    InvalidInput,
    LostRace,
)
from wallets.models.alarm import Alarm
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.operations import review
from wallets.services.payouts import payout, resolver
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders, marks
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections
from wallets.tests.fakes import BARE, DEDUPES_ONLY, Does, FakeBank
from wallets.tests.races import be_impatient
from wallets.utils import clock
from wallets.utils.bank.interface import Answer, Outcome
from wallets.utils.database import transactions
from wallets.utils.database.transactions import run_in_transaction

SQLITE = connection.vendor == "sqlite"


class Driver(Exception):
    """A driver's exception, the cause of Django's error."""

    def __init__(self, *args: object, sqlstate: str | None = None) -> None:
        super().__init__(*args)
        self.sqlstate = sqlstate


def caused(error: Exception, cause: Exception | None = None) -> Exception:
    error.__cause__ = cause
    return error


def retried_errors() -> list[Exception]:
    """Return an error of each kind after which transactions run again here."""
    if connection.vendor == "postgresql":
        states = ("40001", "40P01", "55P03", "57P01", "08006")
        return [caused(OperationalError(s), Driver(sqlstate=s)) for s in states]
    if connection.vendor == "mysql":
        codes = (1213, 1205, 1020, 2006, 2013)
        errors = [caused(OperationalError(c), Driver(c, "text")) for c in codes]
        return [*errors, caused(InterfaceError(0, ""), Driver(0, ""))]
    return [OperationalError("database is locked"), OperationalError("table is locked")]


class RunInTransactionTest(CommittingTestCase):
    def run_with(self, *errors: Exception, patience: float = math.inf) -> int:
        """Run work that fails with these errors, then writes; return its runs."""
        left = list(errors)
        runs = 0

        def work() -> None:
            nonlocal runs
            runs += 1
            Wallet.objects.create()  # is rolled back with each failure
            if left:
                raise left.pop(0)

        before = Wallet.objects.count()
        try:
            run_in_transaction(work, patience=patience)
        finally:
            written = Wallet.objects.count() - before
            self.assertEqual(written, 0 if len(errors) >= runs else 1)
        return runs

    def test_runs_once_when_nothing_is_wrong(self):
        self.assertEqual(self.run_with(), 1)

    def test_runs_again_after_temporary_errors(self):
        for error in [*retried_errors(), LostRace("somebody won")]:
            with self.subTest(repr(error)):
                self.assertEqual(self.run_with(error), 2)

    def test_runs_again_once_after_a_unique_key_that_was_taken(self):
        self.assertEqual(self.run_with(IntegrityError("taken")), 2)
        with self.assertRaises(IntegrityError):
            self.run_with(IntegrityError("taken"), IntegrityError("taken again"))

    def test_runs_again_after_a_unique_key_that_was_taken_behind_a_deadlock(self):
        """Two clients use one key: after the deadlock, one finds the other's row."""
        deadlock = retried_errors()[0]
        self.assertEqual(self.run_with(deadlock, IntegrityError("taken")), 3)

    @marks.slow
    def test_gives_up_after_a_number_of_runs(self):
        errors = [LostRace(str(n)) for n in range(transactions.MAX_RUNS)]
        with self.assertRaises(LostRace) as got:
            self.run_with(*errors)
        self.assertIs(got.exception, errors[-1])

    def test_gives_up_a_lock_that_is_held_longer_than_a_client_waits(self):
        """No client waits for five lock time-outs of twenty seconds."""
        timeout = {
            "sqlite": OperationalError("database is locked"),
            "postgresql": caused(OperationalError(""), Driver(sqlstate="55P03")),
            "mysql": caused(OperationalError(1205), Driver(1205, "text")),
        }[connection.vendor]
        moments = [0.0, 2.9, 3.0]
        with (
            mock.patch.object(transactions.clock, "elapsed", side_effect=moments),
            self.assertRaises(OperationalError),
        ):
            self.run_with(timeout, timeout, patience=3)

    def test_does_not_run_again_after_an_error_of_our_own(self):
        for error in (DataError("too long"), DatabaseError("syntax"), ValueError("x")):
            with self.subTest(repr(error)), self.assertRaises(type(error)):
                self.run_with(error, LostRace("would be run again"))

    def test_refuses_to_run_inside_a_transaction(self):
        with self.assertRaises(RuntimeError), transaction.atomic():
            run_in_transaction(lambda: None)

    def test_leaves_no_transaction_open(self):
        with self.assertRaises(ValueError):
            self.run_with(ValueError("x"))
        self.assertFalse(connection.in_atomic_block)
        self.assertTrue(connection.get_autocommit())


@skipIf(SQLITE, "SQLite has no connection to lose")
class SilenceTest(CommittingTestCase):
    """A connection that was lost after the longest wait for a silent server."""

    def lose_after(self, seconds: float) -> int:
        """Lose the connection after these seconds in each run; return the runs."""
        lost = {
            "postgresql": caused(OperationalError(""), Driver(sqlstate="08006")),
            "mysql": caused(OperationalError(2013), Driver(2013, "text")),
        }[connection.vendor]
        moments = [n * seconds for n in range(transactions.MAX_RUNS + 1)]
        runs = []

        def work() -> None:
            runs.append(1)
            raise lost

        with (
            mock.patch.object(transactions.clock, "elapsed", side_effect=moments),
            self.assertRaises(OperationalError),
        ):
            run_in_transaction(work)
        return len(runs)

    def test_is_not_waited_for_again(self):
        connection.ensure_connection()
        self.assertEqual(self.lose_after(connection.silence_seconds), 1)
        self.assertEqual(self.lose_after(0.1), transactions.MAX_RUNS)


class RefuseInsideTransactionTest(WalletTestCase):
    def test_allows_the_transaction_of_the_test_case(self):
        transactions.refuse_inside_transaction("a test")

    def test_refuses_in_any_other(self):
        with self.assertRaises(InsideTransaction) as got, transaction.atomic():
            transactions.refuse_inside_transaction("a test")
        self.assertIn("a test inside", str(got.exception))


class DatabaseNowTest(WalletTestCase):
    def test_is_now_in_utc(self):
        now = transactions.database_now()
        self.assertEqual(now.utcoffset(), timedelta(0))
        self.assertLess(abs(now - timezone.now()), timedelta(seconds=5))

    def test_goes_on_inside_a_transaction(self):
        self.assertLess(transactions.database_now(), transactions.database_now())


class GuardedUpdateTest(WalletTestCase):
    def test_changes_the_row_that_still_is_as_expected(self):
        wallet = WalletService.create()
        transactions.guarded_update(
            Wallet, {"pk": wallet.pk, "held": 0}, updated_at=self.now
        )
        with self.assertRaises(LostRace):
            transactions.guarded_update(Wallet, {"pk": wallet.pk, "held": 1}, held=2)
        wallet.refresh_from_db()
        self.assertEqual((wallet.held, wallet.updated_at), (0, self.now))


class SnapshotTest(CommittingTestCase):
    def elsewhere(self, work: Callable[[], object]) -> None:
        """Do the work on another connection, and wait for it."""

        def run() -> None:
            work()
            close_connections()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(15)
        self.assertFalse(thread.is_alive(), "a writer had to wait for a reader")

    def test_does_not_see_what_is_written_meanwhile_and_stops_no_writer(self):
        self.deposit(10)
        with transactions.read_snapshot():
            self.assertEqual(Wallet.objects.get(pk=self.alice.pk).balance, 10)
            self.elsewhere(lambda: self.deposit(5))
            self.assertEqual(Wallet.objects.get(pk=self.alice.pk).balance, 10)
            self.assertEqual(Movement.objects.count(), 1)
        self.assertEqual(Wallet.objects.get(pk=self.alice.pk).balance, 15)

    def test_leaves_the_connection_as_it_was(self):
        before = getattr(connection, "transaction_mode", None)
        with self.assertRaises(ValueError), transactions.read_snapshot():
            raise ValueError
        self.assertEqual(getattr(connection, "transaction_mode", None), before)
        self.deposit(1)
        queries = {
            "postgresql": "SHOW transaction_isolation",
            "mysql": "SELECT @@tx_isolation",
        }
        if connection.vendor in queries:
            with connection.cursor() as cursor:
                cursor.execute(queries[connection.vendor])
                (level,) = cursor.fetchone()
            self.assertEqual(level.lower().replace("-", " "), "read committed")


class WhenRunAgain(logging.Handler):
    """A context that calls a function before a transaction runs again."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then

    def emit(self, record: logging.LogRecord) -> None:
        if "run again" in record.getMessage():
            self._then()


@contextmanager
def when_run_again(then: Callable[[], None]) -> Iterator[None]:
    handler = WhenRunAgain(then)
    level = transactions.logger.level
    transactions.logger.setLevel(logging.INFO)
    transactions.logger.addHandler(handler)
    try:
        yield
    finally:
        transactions.logger.removeHandler(handler)
        transactions.logger.setLevel(level)


class LockTimeoutTest(CommittingTestCase):
    def test_of_a_deposit_is_followed_by_another_run(self):
        """The lock is held too long: the deposit runs again, and is made once."""
        locked, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                transactions.lock_rows(Wallet.objects.filter(pk=self.alice.pk))
                locked.set()
                let_go.wait(15)
            close_connections()

        holder = threading.Thread(target=hold)
        holder.start()
        self.assertTrue(locked.wait(15))
        be_impatient(self)
        with when_run_again(let_go.set):
            WalletService.deposit(self.alice.uuid, 5)
        holder.join(15)
        self.assertTrue(let_go.is_set(), "it did not have to wait")
        self.assert_money(self.alice, balance=5)


def commits(data: bytes) -> bool:
    """Whether a client's bytes commit: a COMMIT, or a statement that is a transaction.

    Such a statement is prepared, so its bytes have only the values. The COMMITTED of
    "BEGIN ISOLATION LEVEL READ COMMITTED" is another word.
    """
    array = re.search(rb"\{[0-9a-f-]{36}[,}]", data)
    return re.search(rb"\bCOMMIT\b", data.upper()) is not None or array is not None


class CuttingProxy:
    """A proxy in front of the database that cuts the connection at a COMMIT.

    `cut` is "before" (the server does not get the COMMIT) or "after" (the COMMIT is
    done, and its answer is lost). It cuts once.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut = ""
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(self._upstream)
        with suppress(OSError), client, server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ)
            ready.register(server, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    source: Any = key.fileobj
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and self.cut and commits(data):
                        self._cut(client, server, data)
                        return
                    (server if source is client else client).sendall(data)

    def _cut(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        cut, self.cut = self.cut, ""
        self.cuts += 1
        if cut == "after":
            server.sendall(data)
            server.recv(65536)
        # RST instead of FIN, like a firewall that has lost the connection.
        linger = struct.pack("ii", 1, 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@skipIf(SQLITE, "SQLite has no connection to lose")
class LostConnectionTest(CommittingTestCase):
    """Everything is done once, whether the COMMIT or only its answer is lost."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.theirs = theirs = connection.settings_dict
        self.proxy = CuttingProxy(theirs["HOST"], int(theirs["PORT"]))
        self.addCleanup(self.proxy.stop)
        options = dict(theirs["OPTIONS"])
        if connection.vendor == "postgresql":
            # The proxy must be able to read the statements.
            options |= {"sslmode": "disable", "gssencmode": "disable"}
        connection.close()
        connection.settings_dict = theirs | {
            "HOST": "127.0.0.1",
            "PORT": str(self.proxy.port),
            "OPTIONS": options,
        }
        self.addCleanup(self.back_to_normal, theirs)

    def back_to_normal(self, settings_dict: dict[str, Any]) -> None:
        connection.close()
        connection.settings_dict = settings_dict

    def cut_during(self, cut: str, act: Callable[[], Any]) -> Any:
        connection.ensure_connection()
        before = self.proxy.cuts
        self.proxy.cut = cut
        result = act()
        self.assertEqual(self.proxy.cuts, before + 1, "no COMMIT was lost")
        return result

    def test_does_not_deposit_twice_or_never(self):
        for number, cut in enumerate(("before", "after"), start=1):
            with self.subTest(cut):
                made = self.cut_during(
                    cut, lambda: builders.deposit_receipt(self.alice.uuid, 7)
                )
                self.assertEqual(made.balance_after, 1000 + 7 * number)
                self.assert_money(self.alice, balance=1000 + 7 * number)

    def test_does_not_schedule_twice_or_never(self):
        for number, cut in enumerate(("before", "after"), start=1):
            with self.subTest(cut):
                made = self.cut_during(
                    cut,
                    lambda: WithdrawalService.schedule(
                        self.alice.uuid, 5, self.after(60)
                    ),
                )
                planned = Transaction.objects.filter(transaction_type="WITHDRAWAL")
                self.assertEqual(planned.count(), number)
                self.assertEqual(planned.latest("pk"), made)
                self.assertEqual(Transition.objects.count(), number)

    def test_does_not_claim_twice_and_sends_what_it_claimed(self):
        for cut in ("before", "after"):
            withdrawal = self.due_withdrawal(100)
            rows = Transaction.objects.filter(pk=withdrawal.pk)
            claim = self.cut_during(
                cut,
                lambda rows=rows: payout.claim(
                    rows, bank=self.bank.abilities, limit=1, now=self.now
                ),
            )
            with self.subTest(cut):
                (sending,) = claim.sendings
                self.assertEqual(sending.attempt.number, 1)
                written = withdrawal.attempts.get()
                self.assertEqual(written.reference, sending.payment.reference)
                answer = self.bank.pay(sending.payment, send_before=sending.send_before)
                payout.record([(sending, answer)], now=self.now)
                withdrawal.refresh_from_db()
                self.assertEqual(withdrawal.status, "COMPLETED")

    def test_does_not_record_twice_or_never(self):
        for outcome, status in (("ACCEPTED", "COMPLETED"), ("REJECTED", "FAILED")):
            for cut in ("before", "after"):
                withdrawal = self.due_withdrawal(10)
                rows = Transaction.objects.filter(pk=withdrawal.pk)
                (sending,) = payout.claim(
                    rows, bank=self.bank.abilities, limit=1, now=self.now
                ).sendings
                results = [(sending, Answer(Outcome[outcome], "said"))]
                with self.subTest(outcome, cut=cut):
                    self.cut_during(
                        cut,
                        lambda results=results: payout.record(results, now=self.now),
                    )
                    withdrawal.refresh_from_db()
                    self.assertEqual(withdrawal.status, status)
                    self.assertEqual(withdrawal.alarms.count(), 0)

    def test_does_not_lose_what_the_resolver_took(self):
        self.bank._abilities = DEDUPES_ONLY
        for cut in ("before", "after"):
            withdrawal = self.due_withdrawal(10)
            self.bank.script.append(Does.LOSE)
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
            with self.subTest(cut):
                at = settings.WITHDRAWAL_LEASE + 1
                self.cut_during(cut, lambda at=at: self.resolve(at))
                self.resolve(3 * at)
                withdrawal.refresh_from_db()
                self.assertEqual(withdrawal.status, "COMPLETED")
                self.assertEqual(
                    len(set(self.bank.paid_references())), len(self.bank.paid)
                )

    def in_review(self) -> Transaction:
        withdrawal = self.due_withdrawal(10)
        bank = FakeBank(BARE, script=(Does.LOSE,))
        WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.now)
        resolver.resolve_due(bank=bank, limit=10, now=self.after(3600))
        return withdrawal

    def test_does_not_refuse_an_operator_who_has_concluded_a_review(self):
        for paid, status in ((True, "COMPLETED"), (False, "FAILED")):
            for cut in ("before", "after"):
                row = self.in_review()
                with self.subTest(status, cut=cut):
                    done = self.cut_during(
                        cut, lambda row=row, paid=paid: self.say(row, paid)
                    )
                    self.assertEqual(done.status, status)
                    said = row.transitions.filter(event__startswith="resolve")
                    self.assertEqual(said.count(), 1)
                    alarms = Alarm.objects.exclude(kind="needs_review")
                    self.assertFalse(alarms.exists())
                    with self.assertRaises(IllegalTransition):
                        self.say(row, paid)  # another call is another one

    @override_settings(REVIEW_TWO_PERSONS=True)
    def test_does_not_refuse_an_operator_who_has_proposed(self):
        for cut in ("before", "after"):
            row = self.in_review()
            with self.subTest(cut):
                done = self.cut_during(cut, lambda row=row: self.say(row, False))
                self.assertEqual(done.status, "PROCESSING")
                self.assertEqual(row.review_proposals.count(), 1)
                with self.assertRaises(InvalidInput):
                    self.say(row, False)
                done = self.cut_during(
                    cut, lambda row=row: self.say(row, False, by="olga")
                )
                self.assertEqual(done.status, "FAILED")

    def say(self, row: Transaction, paid: bool, by: str = "oscar") -> Transaction:
        return review.resolve(row.pk, paid=paid, evidence="a call", actor=by)

    def resolve(self, seconds: float) -> int:
        elapsed = clock.elapsed() + seconds
        return resolver.resolve_due(
            bank=self.bank, limit=10, now=self.after(seconds), elapsed=elapsed
        )

    def test_goes_on_after_the_server_ended_the_session(self):
        for number in range(1, 4):
            connection.ensure_connection()
            self.end_session()
            self.deposit(1)
            self.assert_money(self.alice, balance=1000 + number)

    def end_session(self) -> None:
        """End this connection's session from another connection."""
        kill, own = (
            ("SELECT pg_terminate_backend(%s)", "SELECT pg_backend_pid()")
            if connection.vendor == "postgresql"
            else ("KILL %s", "SELECT CONNECTION_ID()")
        )
        with connection.cursor() as cursor:
            cursor.execute(own)
            (session,) = cursor.fetchone()

        def end() -> None:
            with connections["default"].cursor() as cursor:
                cursor.execute(kill, [session])
            close_connections()

        thread = threading.Thread(target=end)
        thread.start()
        thread.join(10)

    def test_keeps_the_session_settings_after_a_lost_connection(self):
        connection.ensure_connection()
        self.end_session()
        connection.close_if_unusable_or_obsolete()
        query = (
            "SHOW transaction_isolation"
            if connection.vendor == "postgresql"
            else "SELECT @@tx_isolation"
        )
        with connection.cursor() as cursor:
            cursor.execute(query)
            (level,) = cursor.fetchone()
        self.assertEqual(level.lower().replace("-", " "), "read committed")

    def test_says_what_happened_when_the_server_stays_away(self):
        """The error is the driver's own."""
        connection.ensure_connection()
        self.end_session()
        self.proxy.stop()
        try:
            with self.assertRaises((OperationalError, InterfaceError)):
                self.deposit(1)
        finally:
            self.back_to_normal(self.theirs)


@skipUnless(connection.vendor == "mysql", "one handshake's trouble")
class RefusedHandshakeTest(CommittingTestCase):
    def test_is_the_drivers_error(self):
        """A proxy without a server accepts the connection, and closes it."""
        theirs = connection.settings_dict
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def refuse() -> None:
                with suppress(OSError):
                    while True:
                        listener.accept()[0].close()

            threading.Thread(target=refuse, daemon=True).start()
            connection.close()
            port = listener.getsockname()[1]
            connection.settings_dict = theirs | {"HOST": "127.0.0.1", "PORT": str(port)}
            try:
                with self.assertRaises(OperationalError):
                    self.deposit(1)
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                connection.close()
                connection.settings_dict = theirs


class DepositMomentTest(WalletTestCase):
    def test_is_the_one_given(self):
        made = WalletService.deposit(self.alice.uuid, 5, now=self.after(-60))
        made.refresh_from_db()
        self.assertEqual(made.executed_at, self.after(-60))
