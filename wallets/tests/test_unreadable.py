"""A row that cannot be read, or not counted on from: everybody else is served.

A wrong restore or a change by hand leaves a time that no driver can read, or a number
after which there is none. Each sweep meets it first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connection

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit
from wallets.services.operations import metrics, payout_health
from wallets.services.operations.reconciliation import Comparison
from wallets.services.payouts import put_aside, sweeps, waiting
from wallets.services.wallets import life
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.tests.fakes import ABLE, LOOKS_UP_ONLY, Does
from wallets.tests.raw import rules_off, update
from wallets.tests.test_commands_review import CommandTestCase
from wallets.tests.test_drain import SameThreadBank
from wallets.tests.unknowns import LEASE, ResolverTestCase
from wallets.tests.unreadable import TIMES, damage_count, damage_time
from wallets.utils.bank.payment_list import StatementLine
from wallets.utils.database import append_only, readable


class UnreadableCase(WalletTestCase):
    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def assert_alarm(self, subject: str) -> None:
        rows = Alarm.objects.filter(kind=Alarm.Kind.DAMAGED_ROWS)
        self.assertEqual(set(rows.values_list("subject", flat=True)), {subject})


class UnreadableDueTest(UnreadableCase):
    """Bob's withdrawal, the first that is due, cannot be read; Alice's are paid."""

    def setUp(self) -> None:
        super().setUp()
        self.bank = SameThreadBank(LOOKS_UP_ONLY)
        self.deposit(1000)
        self.deposit(1000, self.bob)
        self.damaged = self.due_withdrawal(10, self.bob)
        self.sound = [self.due_withdrawal(10) for _ in range(3)]
        put_aside._until.clear()
        self.addCleanup(put_aside._until.clear)

    def check(self, sweep: Any = sweeps.pay_pending) -> None:
        for _ in range(2):
            sweep(bank=self.bank, seconds=0.1)
            self.assert_alarm(f"withdrawal {self.damaged.pk}")
        self.assertEqual(self.damaged.attempts.filter(open=True).count(), 0)
        for row in self.sound:
            row.refresh_from_db()
            self.assertEqual(row.status, "COMPLETED")

    def test_created_at(self) -> None:
        damage_time(self.damaged, "created_at")
        self.check()

    def test_scheduled_for(self) -> None:
        damage_time(self.damaged, "scheduled_for")
        self.check()

    def test_version(self) -> None:
        damage_count(self.damaged, "version")
        self.check()

    def test_movement_count_of_its_wallet(self) -> None:
        damage_count(self.bob, "movement_count")
        self.check()

    def test_created_at_of_its_wallet(self) -> None:
        damage_time(self.bob, "created_at")
        self.check()

    def refuse_all(self) -> None:
        self.bank.script.extend([Does.REFUSE] * 4)
        sweeps.pay_pending(bank=self.bank)
        Transaction.objects.filter(status="FAILED").update(next_attempt_at=self.now)

    def test_next_attempt_at(self) -> None:
        self.refuse_all()
        damage_time(self.damaged, "next_attempt_at")
        self.check(sweeps.pay_retries)

    def test_version_of_a_retry(self) -> None:
        self.refuse_all()
        damage_count(self.damaged, "version")
        self.check(sweeps.pay_retries)

    def test_is_marked_while_its_wallet_is_frozen_without_being_read(self) -> None:
        damage_time(self.damaged, "created_at")
        damage_count(self.damaged, "version")
        life.freeze(self.bob.uuid, "out", reason="x", actor=OSCAR)
        due = Transaction.get_due_pending_withdrawals(self.now)
        self.assertEqual(waiting.begin_for_frozen(due), 1)
        waits = Transaction.objects.filter(waits_for_wallet=True)
        self.assertEqual(waits.count(), 1)
        life.unfreeze(self.bob.uuid, "out", reason="x", actor=OSCAR)
        self.assertEqual(waits.count(), 0)
        self.check()

    def test_is_counted_as_nothing_else_by_the_figures(self) -> None:
        """A drain plans its next claim by the earliest time, and so do the figures."""
        Transaction.objects.filter(pk__in=[row.pk for row in self.sound]).update(
            scheduled_for=self.after(-60)
        )
        for time in TIMES:
            with self.subTest(time):
                damage_time(self.damaged, "scheduled_for", time=time)
                oldest = payout_health.look(self.now).oldest_due_seconds
                self.assertEqual(oldest, 60)
                self.assertEqual(metrics.figures().oldest_due_seconds >= 60, True)
                pending = Transaction.objects.filter(status="PENDING")
                first = readable.earliest(pending, "scheduled_for")
                self.assertEqual(first, self.after(-60))
                none = pending.filter(pk=self.damaged.pk)
                self.assertIsNone(readable.earliest(none, "scheduled_for"))


class UnreadableOpenTest(ResolverTestCase):
    """Bob's open attempt, the first to check, cannot be read; Alice's are resolved."""

    abilities = ABLE
    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def begin(self) -> Attempt:
        self.deposit(1000, self.bob)
        self.damaged = self.due_withdrawal(100, self.bob)
        self.sound = [self.due_withdrawal(100) for _ in range(3)]
        self.time.stand_at(0)
        for row in (self.damaged, *self.sound):
            self.bank.script.append(Does.PAY_SILENTLY)
            self.take_up(row, unknown=True)
        made = self.damaged.attempts.get()
        Attempt.objects.filter(pk=made.pk).update(next_check_at=self.after(-60))
        return made

    def check(self, made: Attempt) -> None:
        self.resolve(LEASE)
        for row in self.sound:
            row.refresh_from_db()
            self.assertEqual(row.status, "COMPLETED")
        alarm = Alarm.objects.get(kind=Alarm.Kind.DAMAGED_ROWS)
        self.assertEqual(alarm.subject, f"attempt {made.pk}")

    def test_times_of_the_attempt(self) -> None:
        made = self.begin()
        damage_time(made, "lease_expires_at", "started_at", "next_check_at")
        self.check(made)

    def test_times_of_its_withdrawal(self) -> None:
        made = self.begin()
        damage_time(self.damaged, "created_at", "unknown_since")
        self.check(made)

    def test_time_of_its_wallet(self) -> None:
        made = self.begin()
        damage_time(self.bob, "updated_at")
        self.check(made)

    def test_version_of_its_withdrawal(self) -> None:
        made = self.begin()
        damage_count(self.damaged, "version")
        self.check(made)

    def test_number_of_checks(self) -> None:
        made = self.begin()
        damage_count(made, "checks")
        self.check(made)


class UnreadableReadTest(CommandTestCase):
    """Of two withdrawals in review the first cannot be read. The other is told by…"""

    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def setUp(self) -> None:
        super().setUp()
        self.damaged, self.sound = self.in_review(), self.in_review()
        self.attempt = self.damaged.attempts.get()

    def each_damage(self) -> Iterator[str]:
        """Damage the withdrawal in one way after the other."""
        for time in TIMES:
            damage_time(self.damaged, "created_at", time=time)
            yield f"created_at {time}"
        Transaction.objects.filter(pk=self.damaged.pk).update(created_at=self.now)
        with rules_off(Transaction):
            damage_count(self.damaged, "version")
            yield "version"
            damage_time(self.damaged, "executed_at", "scheduled_for")
            yield "other times"

    def test_the_command_that_lists_reviews(self) -> None:
        for what in self.each_damage():
            with self.subTest(what):
                *lines, count = self.run_command("review").splitlines()
                told = {int(line.split()[0]): line for line in lines}
                self.assertIn(self.damaged.pk, told)
                self.assertIn("attempts 1", told[self.sound.pk])
                self.assertIn("2 waiting", count)
        self.assertIn("damaged, run verify_ledger", told[self.damaged.pk])

    def test_that_command_if_an_attempt_cannot_be_read(self) -> None:
        damage_time(self.attempt, "created_at", "last_sent_at")
        *lines, count = self.run_command("review").splitlines()
        self.assertIn("2 waiting", count)
        self.assertTrue(any("damaged" in line for line in lines))

    def test_the_check_of_the_ledger_which_names_the_rows(self) -> None:
        for what in self.each_damage():
            with self.subTest(what):
                found = {one.row for one in ledger_audit.verify()}
                if what != "version":
                    self.assertIn(f"transaction {self.damaged.pk}", found)
        damage_time(self.alice, "updated_at")
        damage_time(self.attempt, "last_sent_at")
        movement = Movement.objects.filter(transaction=self.sound).latest("pk")
        if connection.features.can_rollback_ddl:
            append_only.remove(connection)
            damage_time(movement, "created_at")
            append_only.install(connection)
        update(Wallet, self.bob.pk, {"balance": 5})
        found = {one.row for one in ledger_audit.verify()}
        for row in (
            f"transaction {self.damaged.pk}",
            f"wallet {self.alice.pk}",
            f"wallet {self.bob.uuid}",
            f"attempt {self.attempt.pk}",
        ):
            self.assertIn(row, found)
        changed = connection.features.can_rollback_ddl
        self.assertEqual(f"movement {movement.pk}" in found, changed)

    def test_lists_of_the_api(self) -> None:
        own = f"/wallets/{self.alice.uuid}/transactions/"
        for what in self.each_damage():
            for path in (own, f"{own}?status=PROCESSING", "/transactions/"):
                with self.subTest(what, path=path):
                    self.assertIn(self.sound.pk, self.listed(path))
        named = Alarm.objects.filter(kind=Alarm.Kind.DAMAGED_ROWS)
        self.assertEqual(named.get().transaction_id, self.damaged.pk)

    def test_lists_of_the_api_page_by_page(self) -> None:
        """A page is filled up, so that a client does not take it for the last one."""
        for path in (f"/wallets/{self.alice.uuid}/transactions/", "/transactions/"):
            with self.subTest(path):
                Transaction.objects.update(executed_at=self.now)
                whole = self.listed(path)
                first = Transaction.objects.get(pk=whole.pop(0))
                damage_time(first, "executed_at")
                answer = self.client.get(f"{path}?limit={len(whole) - 1}")
                ids = [one["id"] for one in answer.json()]
                self.assertEqual(ids, whole[:-1])
                self.assertIn('rel="next"', answer.headers.get("Link", ""))

    def test_the_list_of_wallets(self) -> None:
        damage_time(self.alice, "created_at")
        listed = self.client.get("/wallets/").json()
        self.assertIn(str(self.bob.uuid), str(listed))
        damage_time(self.alice, "updated_at")
        self.assertEqual(self.client.get("/transactions/").status_code, 200)

    def test_its_alarm(self) -> None:
        self.listed("/transactions/")
        for what in self.each_damage():
            with self.subTest(what):
                text = self.run_command("alarms")
                self.assertIn(f"withdrawal {self.damaged.pk}", text)

    def test_the_comparison_with_the_banks_list(self) -> None:
        made = self.sound.attempts.get()
        line = StatementLine(made.reference, self.alice.uuid, 60, self.now)
        other = StatementLine(self.attempt.reference, self.alice.uuid, 60, self.now)
        damage_time(self.attempt, "last_sent_at", "created_at", "lease_expires_at")
        for what in self.each_damage():
            with self.subTest(what):
                some = Comparison([other, line], self.after(60), since=self.after(-60))
                found = {(one.check, one.row) for one in some.findings()}
                self.assertIn(("paid_not_recorded", f"attempt {made}"), found)

    def test_its_own_page_which_fails_alone(self) -> None:
        damage_time(self.damaged, "created_at")
        path = f"/wallets/{self.alice.uuid}/transactions/"
        self.assertEqual(self.client.get(f"{path}{self.sound.pk}/").status_code, 200)

    def listed(self, path: str) -> list[int]:
        answer = self.client.get(path)
        self.assertEqual(answer.status_code, 200, answer.content)
        return [one["id"] for one in answer.json()]
