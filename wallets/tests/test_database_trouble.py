"""The database fails in every way: nothing is done half or twice, and work continues.

Shared servers are never stopped here. Instead a proxy loses their answers, an
administrator ends a session, or the driver's own error is raised at the same place.
"""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from unittest import skipUnless

from django.db import DatabaseError, OperationalError, connection

from wallets.models.attempt import Attempt
from wallets.models.correction import Correction
from wallets.models.ledger import Movement
from wallets.models.payment_return import PaymentReturn
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.wallet import Wallet
from wallets.services.corrections.correction import correct
from wallets.services.deposits.deposit import DepositRequest, deposit_in_steps
from wallets.services.ledger.postings import lock_wallets
from wallets.services.operations.payment_return import record_return
from wallets.services.payouts import payout
from wallets.services.payouts.claiming import find_due
from wallets.services.transfers.transfer import transfer
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders, marks
from wallets.tests.base import OSCAR, CommittingTestCase, close_connections
from wallets.tests.outages import set_read_only
from wallets.tests.test_db import commits
from wallets.utils.database.transactions import MAX_RUNS, run_in_transaction

Status = Transaction.Status
VENDOR = connection.vendor
on_a_server = skipUnless(VENDOR != "sqlite", "SQLite has no server")
on_sqlite = skipUnless(VENDOR == "sqlite", "SQLite's own troubles")


def driver_errors() -> dict[str, Exception]:
    """Return the driver's errors after which a transaction runs again."""
    if VENDOR == "postgresql":
        from psycopg import errors

        return {
            "deadlock": errors.DeadlockDetected("deadlock detected"),
            "lock time-out": errors.LockNotAvailable("canceling statement"),
            "serialization": errors.SerializationFailure("could not serialize"),
            "session ended": errors.AdminShutdown("terminating connection"),
            "connection lost": errors.OperationalError("server closed the connection"),
        }
    if VENDOR == "mysql":
        from MySQLdb import OperationalError as MySQLError

        codes = {
            "deadlock": 1213,
            "lock time-out": 1205,
            "serialization": 1020,
            "connection lost": 2013,
        }
        return {name: MySQLError(code, name) for name, code in codes.items()}
    import sqlite3

    return {"busy": sqlite3.OperationalError("database is locked")}


def returned(row: Transaction) -> PaymentReturn:
    """Record that the bank has sent all of it back."""
    return record_return(
        *(row.pk, row.amount), return_reference="RET 1", reason="closed", actor=OSCAR
    )


class TroubleTestCase(CommittingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.withdrawal = self.due_withdrawal(400)

    def pay(self) -> Transaction:
        return WithdrawalService.execute(
            self.withdrawal.pk, bank=self.bank, now=self.now
        )

    def paid(self, amount: int) -> Transaction:
        """Return another withdrawal, which the bank has paid."""
        row = self.due_withdrawal(amount)
        return WithdrawalService.execute(row.pk, bank=self.bank, now=self.now)

    def assert_paid_once(self) -> None:
        self.withdrawal.refresh_from_db()
        self.assertEqual(self.withdrawal.status, Status.COMPLETED)
        self.assertEqual([payment.amount for payment in self.bank.paid], [400])
        self.assertEqual(self.withdrawal.attempts.count(), 1)

    def statements_of(self, work: Callable[[], object]) -> int:
        """Return the number of statements of the work without failures."""
        count = 0

        def counting(execute: Any, *args: Any) -> Any:
            nonlocal count
            count += 1
            return execute(*args)

        with connection.execute_wrapper(counting):
            work()
        return count

    @contextmanager
    def trouble_at(self, number: int, trouble: Callable[[], None]) -> Iterator[None]:
        """Call `trouble` once, before the N-th statement of the block."""
        count = 0

        def counting(execute: Any, *args: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                trouble()
            return execute(*args)

        with connection.execute_wrapper(counting):
            yield


@marks.slow
class DriverErrorTest(TroubleTestCase):
    """After each error of the driver, at each statement, the transaction runs again."""

    def test_is_followed_by_another_run_of_the_whole_deposit(self):
        def work() -> Transaction:
            return WalletService.deposit(self.bob.uuid, 7)

        self.assert_cured(work)
        done = Movement.objects.filter(wallet=self.bob).count()
        self.assert_money(self.bob, balance=7 * done)

    def test_is_followed_by_another_run_of_the_whole_transfer(self):
        def work() -> Transfer:
            return transfer(self.alice.uuid, self.bob.uuid, 7)

        self.assert_cured(work)
        self.assert_money(self.bob, balance=7 * Transfer.objects.count())

    def test_is_followed_by_another_run_of_the_whole_correction(self):
        made = self.deposit(1000, self.bob)

        def work() -> Correction:
            return correct(made.pk, 7, reason="typed wrongly", actor=OSCAR)

        self.assert_cured(work)
        done = Correction.objects.count()
        self.assert_money(self.bob, balance=1000 - 7 * done)

    def test_is_followed_by_another_run_of_the_whole_return(self):
        paid = iter([self.paid(1) for _ in range(100)])

        def work() -> PaymentReturn:
            return returned(next(paid))

        self.assert_cured(work)
        done = PaymentReturn.objects.count()
        self.assert_money(self.alice, balance=900 + done)

    def test_is_followed_by_another_run_of_the_whole_cancellation(self):
        def work() -> None:
            withdrawal = WithdrawalService.schedule(
                self.alice.uuid, 1, self.after(60), now=self.now
            )
            WithdrawalService.cancel(withdrawal.pk)
            withdrawal.refresh_from_db()
            self.assertEqual(withdrawal.status, Status.CANCELLED)

        self.assert_cured(work, last=1)

    def test_is_followed_by_another_run_of_a_claim_or_the_recording(self):
        def work() -> None:
            withdrawal = self.due_withdrawal(1)
            done = WithdrawalService.execute(
                withdrawal.pk, bank=self.bank, now=self.now
            )
            self.assertEqual(done.status, Status.COMPLETED)

        # The first and the last statement are reads outside a transaction.
        self.assert_cured(work, first=7, last=1)
        self.assertEqual(len(self.bank.paid), len(set(self.bank.paid_references())))

    def test_ends_after_a_bounded_number_of_runs(self):
        error = next(iter(driver_errors().values()))
        runs = []

        def work() -> None:
            runs.append(1)
            with connection.wrap_database_errors:
                raise error

        with self.assertRaises(DatabaseError):
            run_in_transaction(work)
        self.assertEqual(len(runs), MAX_RUNS)

    def assert_cured(
        self, work: Callable[[], object], *, first: int = 1, last: int = 0
    ) -> None:
        count = self.statements_of(work)
        for name, error in driver_errors().items():
            for number in range(first, count + 1 - last):
                with self.subTest(name, statement=f"{number} of {count}"):

                    def trouble(error: Exception = error) -> None:
                        with connection.wrap_database_errors:
                            raise error

                    with self.trouble_at(number, trouble):
                        work()


@on_a_server
class DeadlockTest(TroubleTestCase):
    """Real locks, two real sessions."""

    def test_commits_no_half_when_two_transactions_wait_for_each_other(self):
        # On MariaDB a deadlock has rolled back the earlier statements. Code that caught
        # the error and went on would commit only the second deposit.
        both_hold_one = threading.Barrier(2, timeout=10)
        runs: list[str] = []

        def transfer(name: str, first: Wallet, second: Wallet) -> None:
            def work() -> None:
                runs.append(name)
                put_in(first)
                if runs.count(name) == 1:
                    both_hold_one.wait()
                put_in(second)

            run_in_transaction(work)

        self.in_threads(
            lambda: transfer("one", self.alice, self.bob),
            lambda: transfer("two", self.bob, self.alice),
        )
        self.assertGreater(len(runs), 2, "there was no deadlock")
        self.assert_money(self.alice, balance=1020)
        self.assert_money(self.bob, balance=20)

    def test_waits_for_a_lock_that_is_held_too_long(self):
        held, released = threading.Event(), threading.Event()

        def hold() -> None:
            def work() -> None:
                lock_wallets([self.alice.pk])
                held.set()
                released.wait(20)

            run_in_transaction(work)

        failed = []

        def deposit() -> None:
            held.wait(10)
            set_lock_timeout()

            def notice(execute: Any, *args: Any) -> Any:
                try:
                    return execute(*args)
                except OperationalError as error:
                    failed.append(error)
                    released.set()
                    raise

            with connection.execute_wrapper(notice):
                WalletService.deposit(self.alice.uuid, 5)

        self.in_threads(hold, deposit)
        self.assertTrue(failed, "there was no lock time-out")
        self.assert_money(self.alice, balance=1005)

    def in_threads(self, *works: Callable[[], None]) -> None:
        errors: list[BaseException] = []

        def run(work: Callable[[], None]) -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 (every error is a result)
                errors.append(error)
            finally:
                close_connections()

        threads = [threading.Thread(target=run, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertEqual(errors, [])


def put_in(wallet: Wallet) -> None:
    """Deposit ten. Call inside a transaction, so that it may deadlock."""
    deposit_in_steps([DepositRequest(wallet.uuid, 10, uuid.uuid4())], None, True)


def set_lock_timeout() -> None:
    """Let this session wait at most a second for a lock."""
    with connection.cursor() as cursor:
        if VENDOR == "postgresql":
            cursor.execute("SET lock_timeout = '300ms'")
        else:
            cursor.execute("SET innodb_lock_wait_timeout = 1")


@on_a_server
class EndedSessionTest(TroubleTestCase):
    """An administrator ends the session, as a restart ends all sessions."""

    def setUp(self) -> None:
        super().setUp()
        self.admin = connection.copy()
        self.addCleanup(self.admin.close)

    def end_session(self) -> None:
        """End the session of this connection, if it has one."""
        if connection.connection is None:
            return
        with self.admin.cursor() as cursor:
            if VENDOR == "postgresql":
                pid = connection.connection.info.backend_pid
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            else:
                cursor.execute("KILL %s", [connection.connection.thread_id()])

    def test_between_two_deposits_is_not_noticed(self):
        for _ in range(2):
            WalletService.deposit(self.alice.uuid, 1)
            self.end_session()
        WalletService.deposit(self.alice.uuid, 1)
        self.assert_money(self.alice, balance=1003)

    def test_at_any_statement_of_a_deposit_makes_one_deposit(self):
        def work() -> Transaction:
            return WalletService.deposit(self.bob.uuid, 7)

        count = self.statements_of(work)
        for number in range(1, count + 1):
            with (
                self.subTest(statement=f"{number} of {count}"),
                self.trouble_at(number, self.end_session),
            ):
                work()
        self.assert_money(self.bob, balance=7 * (count + 1))

    def test_at_any_statement_of_a_claim_or_a_recording_pays_once(self):
        work = self.pay
        count = self.statements_of(work)
        for number in range(1, count + 1):
            self.withdrawal = self.due_withdrawal(1)
            self.bank.paid.clear()
            with self.subTest(statement=f"{number} of {count}"):
                try:
                    with self.trouble_at(number, self.end_session):
                        work()
                except (DatabaseError, OperationalError):
                    # A failed read outside a transaction ends the task: sweep again.
                    connection.close()
                    if self.withdrawal.attempts.count() == 0:
                        work()
                self.withdrawal.refresh_from_db()
                self.assertEqual(self.withdrawal.status, Status.COMPLETED)
                self.assertEqual(len(self.bank.paid), 1)


class LosingProxy:
    """A proxy between a client and a server, which can lose one COMMIT.

    `lose_answer()`: the next COMMIT is done, and the connection ends before the
    server's answer. `lose_request()`: the connection ends before the COMMIT.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lose = ""
        self._deaf: set[socket.socket] = set()
        self.lost = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def lose_answer(self) -> None:
        self._lose = "answer"

    def lose_request(self) -> None:
        self._lose = "request"

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            threading.Thread(
                target=self._requests, args=(client, server), daemon=True
            ).start()
            threading.Thread(
                target=self._pass, args=(server, client), daemon=True
            ).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while data := _receive(client):
            if self._lose and commits(data):
                self._lose_commit(client, server, data)
                return
            server.sendall(data)
        _end(server)

    def _lose_commit(
        self, client: socket.socket, server: socket.socket, data: bytes
    ) -> None:
        lose, self._lose = self._lose, ""
        self.lost += 1
        # From now on the client gets no bytes, and the end only after the COMMIT.
        self._deaf.add(client)
        if lose == "answer":
            server.sendall(data)
            server.shutdown(socket.SHUT_WR)  # the server ends after its answer
        else:
            _end(server)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        while data := _receive(source):
            with suppress(OSError):  # the client may be gone; the server is still read
                if target not in self._deaf:
                    target.sendall(data)
        _end(target)


def _end(sock: socket.socket) -> None:
    # Without the shutdown, the thread that reads from it would not end.
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


@on_a_server
class LostCommitTest(TroubleTestCase):
    """The answer to a COMMIT is lost; the COMMIT was done or not."""

    def setUp(self) -> None:
        super().setUp()
        ours = connection.settings_dict
        port = ours["PORT"] or (5432 if VENDOR == "postgresql" else 3306)
        self.proxy = LosingProxy(ours["HOST"] or "127.0.0.1", int(port))
        self.before = {**ours, "OPTIONS": dict(ours["OPTIONS"])}
        ours["HOST"], ours["PORT"] = "127.0.0.1", str(self.proxy.port)
        # The proxy must be able to read the statements.
        if VENDOR == "postgresql":
            ours["OPTIONS"]["sslmode"] = "disable"
        else:
            ours["OPTIONS"]["ssl_disabled"] = True
        connection.close()

    def tearDown(self) -> None:
        connection.close()
        connection.settings_dict.update(self.before)
        self.proxy.close()
        super().tearDown()

    def losses(self) -> Iterator[str]:
        """Yield each kind of loss, set for the next COMMIT; check that it happened."""
        for name in ("lose_answer", "lose_request"):
            WalletService.deposit(self.bob.uuid, 1)  # opens the connection
            before = self.proxy.lost
            getattr(self.proxy, name)()
            with self.subTest(name):
                yield name
            self.assertEqual(self.proxy.lost, before + 1, name)

    def test_leaves_one_deposit(self):
        for number, _ in enumerate(self.losses(), start=1):
            made = builders.deposit_receipt(self.alice.uuid, 5)
            self.assertEqual(made.balance_after, 1000 + 5 * number)
        self.assert_money(self.alice, balance=1010)

    def test_leaves_one_transfer(self):
        for number, _ in enumerate(self.losses(), start=1):
            made = transfer(self.alice.uuid, self.bob.uuid, 5)
            self.assertEqual(made.amount, 5)
            self.assertEqual(Transfer.objects.count(), number)
        self.assert_money(self.alice, balance=990)

    def test_leaves_one_return(self):
        rows = [self.paid(5), self.paid(5)]
        for row, _ in zip(rows, self.losses(), strict=True):
            self.assertEqual(returned(row).withdrawal_id, row.pk)
        self.assertEqual(PaymentReturn.objects.count(), 2)
        self.assert_money(self.alice, balance=1000)

    def test_leaves_one_correction(self):
        first = self.alice.transactions.earliest("pk")
        for number, _ in enumerate(self.losses(), start=1):
            done = correct(first.pk, 5, reason="typed wrongly", actor=OSCAR)
            self.assertEqual(done.number, number)
        self.assert_money(self.alice, balance=990)

    def test_leaves_one_withdrawal_scheduled(self):
        for number, _ in enumerate(self.losses(), start=2):
            WithdrawalService.schedule(self.alice.uuid, 5, self.after(600))
            withdrawals = self.alice.transactions.exclude(scheduled_for=None)
            self.assertEqual(withdrawals.count(), number)

    def test_leaves_one_cancellation(self):
        for _ in self.losses():
            withdrawal = WithdrawalService.schedule(self.bob.uuid, 1, self.after(600))
            # The losing COMMIT was that of `schedule`; lose this one as well.
            self.proxy.lose_answer()
            cancelled = WithdrawalService.cancel(withdrawal.pk)
            self.assertEqual(cancelled.status, Status.CANCELLED)
            self.assertEqual(withdrawal.transitions.count(), 2)
            self.proxy.lost -= 1

    def test_leaves_one_reschedule(self):
        for _ in self.losses():
            withdrawal = WithdrawalService.schedule(self.bob.uuid, 1, self.after(600))
            # The losing COMMIT was that of `schedule`; lose this one as well.
            self.proxy.lose_answer()
            done = WithdrawalService.reschedule(withdrawal.pk, self.after(700))
            self.assertEqual(done.scheduled_for, self.after(700))
            self.assertEqual(withdrawal.transitions.count(), 2)
            self.proxy.lost -= 1

    def test_of_a_claim_is_recognised_by_the_claimer(self):
        for _ in self.losses():
            withdrawal = self.withdrawal
            claim = payout.claim(
                find_due(self.now), bank=self.bank.abilities, limit=1, now=self.now
            )
            attempt = Attempt.objects.get(transaction=withdrawal)
            (sending,) = claim.sendings
            self.assertEqual(sending.payment.reference, attempt.reference)
            self.assertEqual(sending.send_number, 1)
            answer = self.bank.pay(sending.payment, send_before=sending.send_before)
            payout.record([(sending, answer)], now=self.now)
            self.assert_paid_once()
            self.bank.paid.clear()
            self.withdrawal = self.due_withdrawal(400)

    def test_of_a_recording_settles_once(self):
        for _ in self.losses():
            self.proxy._lose, lose = "", self.proxy._lose
            claim = payout.claim(
                find_due(self.now), bank=self.bank.abilities, limit=1, now=self.now
            )
            (sending,) = claim.sendings
            answer = self.bank.pay(sending.payment, send_before=sending.send_before)
            self.proxy._lose = lose
            payout.record([(sending, answer)], now=self.now)
            self.assert_paid_once()
            self.bank.paid.clear()
            self.withdrawal = self.due_withdrawal(400)


@marks.slow
class UnwritableTest(TroubleTestCase):
    """A database that accepts no writes: an error, nothing half, and work continues."""

    def test_by_mistake_read_only_refuses_and_writes_nothing(self):
        set_read_only(True)
        try:
            for work in (self.pay, lambda: WalletService.deposit(self.alice.uuid, 5)):
                with self.assertRaises(OperationalError):
                    work()
        finally:
            set_read_only(False)
        self.assertEqual(self.bank.requests, [])
        self.assert_money(self.alice, balance=1000)
        self.pay()
        self.assert_paid_once()

    @on_sqlite
    def test_when_full_refuses_and_resumes_when_space_returns(self):
        self.give_free_pages_back()
        self.set_pages(self.pages())
        deposits = 0
        with self.assertRaisesMessage(OperationalError, "full"):
            for _ in range(500):
                WalletService.deposit(self.alice.uuid, 1)
                deposits += 1
        with self.assertRaisesMessage(OperationalError, "full"):
            for _ in range(500):
                self.due_withdrawal(1)
        self.set_pages(2**30)
        self.assert_money(self.alice, balance=1000 + deposits)
        self.pay()
        self.assert_paid_once()

    @staticmethod
    def give_free_pages_back() -> None:
        """Remove the free pages of earlier tests, which would accept the writes."""
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")

    @staticmethod
    def pages() -> int:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA page_count")
            return int(cursor.fetchone()[0])

    @staticmethod
    def set_pages(limit: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA max_page_count = {limit}")

    @on_sqlite
    def test_when_busy_for_longer_than_the_time_out_writes_nothing(self):
        other = connection.copy()
        self.addCleanup(other.close)
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 20")
        with other.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            with self.assertRaisesMessage(OperationalError, "locked"):
                WalletService.deposit(self.alice.uuid, 5)
            cursor.execute("ROLLBACK")
        WalletService.deposit(self.alice.uuid, 5)
        self.assert_money(self.alice, balance=1005)

    @on_sqlite
    def test_when_busy_for_a_moment_waits(self):
        other = connection.copy()
        self.addCleanup(other.close)
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 20")

        def release(execute: Any, *args: Any) -> Any:
            try:
                return execute(*args)
            except OperationalError:
                other.rollback()
                raise

        with other.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
        with connection.execute_wrapper(release):
            WalletService.deposit(self.alice.uuid, 5)
        self.assert_money(self.alice, balance=1005)


class LaterTest(TroubleTestCase):
    @marks.slow
    def test_a_withdrawal_whose_claim_failed_is_paid_by_the_next_sweep(self):
        def fail() -> None:
            with connection.wrap_database_errors:
                raise next(iter(driver_errors().values()))

        def always(execute: Any, *args: Any) -> Any:
            fail()

        with connection.execute_wrapper(always), self.assertRaises(DatabaseError):
            self.pay()
        self.assertEqual(self.bank.requests, [])
        self.now += timedelta(seconds=10)
        self.pay()
        self.assert_paid_once()
