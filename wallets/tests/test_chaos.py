"""A short chaos run, and the tests of its checker, which must detect every error."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from django.db import connection
from django.test import SimpleTestCase

from drills import checker
from drills.checker import Payment, Row
from drills.clients import read_answer
from drills.history import (
    CANCEL,
    DEPOSIT,
    OK,
    REFUSED,
    RESCHEDULE,
    UNKNOWN,
    WITHDRAWAL,
    Answer,
    Intent,
)
from drills.process import ROOT
from drills.report import Report
from wallets.tests import marks

DUE = datetime(2026, 1, 1, tzinfo=timezone.utc)
LOST = Answer(UNKNOWN, detail="ReadTimeoutError")
NO = Answer(REFUSED, 400, {"code": "amount_invalid"})


def ok(pk: int, **more: Any) -> Answer:
    return Answer(OK, 201, {"id": pk, **more})


def deposit(key: str, *answers: Answer, amount: int = 100) -> Intent:
    return Intent(DEPOSIT, key, "w", amount, answers=list(answers))


def withdrawal(key: str, *answers: Answer, amount: int = 60) -> Intent:
    return Intent(WITHDRAWAL, key, "w", amount, DUE, list(answers))


def cancel(key: str, *answers: Answer) -> Intent:
    return Intent(CANCEL, key, "w", 60, answers=list(answers))


def reschedule(key: str, hours: int, *answers: Answer) -> Intent:
    when = DUE + timedelta(hours=hours)
    return Intent(RESCHEDULE, key, "w", 60, when, answers=list(answers))


def deposit_row(pk: int, key: str, **changes: Any) -> Row:
    row = Row(pk, key, DEPOSIT, "w", 100, "COMPLETED")
    return dataclasses.replace(row, **changes)


def withdrawal_row(pk: int, key: str, **changes: Any) -> Row:
    row = Row(pk, key, WITHDRAWAL, "w", 60, "COMPLETED", scheduled_for=DUE)
    return dataclasses.replace(row, **{"references": (f"r{pk}",), **changes})


class CheckerTest(SimpleTestCase):
    """Forged histories with one error each, which the checker must name."""

    def wrongs(
        self,
        intents: Sequence[Intent],
        books: Sequence[Row],
        payments: Sequence[Payment] = (),
        balance: int | None = None,
    ) -> list[str]:
        if balance is None:  # as the ledger says
            balance = sum(
                row.amount if row.kind == DEPOSIT else -row.amount
                for row in books
                if row.kind == DEPOSIT or row.status == "COMPLETED" or row.needs_review
            )
        return checker.wrongs(intents, books, {"w": balance}, payments)

    def assert_wrong(self, reason: str, *arguments: Any, **more: Any) -> None:
        found = self.wrongs(*arguments, **more)
        self.assertTrue(any(reason in wrong for wrong in found), found)

    def test_accepts_what_is_right(self) -> None:
        intents = [
            deposit("d", ok(1), ok(1)),
            deposit("lost", LOST),
            deposit("lost, done", LOST, LOST),
            deposit("refused", NO),
            withdrawal("paid", ok(3)),
            withdrawal("failed", LOST, ok(4)),
            withdrawal("cancelled", ok(5)),
            cancel("cancelled", LOST, ok(5)),
            withdrawal("too late", ok(6)),
            cancel("too late", Answer(REFUSED, 409, {})),
        ]
        books = [
            deposit_row(1, "d"),
            deposit_row(2, "lost, done"),
            withdrawal_row(3, "paid"),
            withdrawal_row(4, "failed", status="FAILED", final=True),
            withdrawal_row(5, "cancelled", status="CANCELLED"),
            withdrawal_row(6, "too late", references=("r6", "r6b")),
        ]
        payments = [Payment("r3", "w", 60), Payment("r6b", "w", 60)]
        self.assertEqual(self.wrongs(intents, books, payments), [])

    def test_sees_a_confirmed_deposit_that_is_gone(self) -> None:
        self.assert_wrong("not in the books", [deposit("d", ok(1))], [])

    def test_sees_a_refused_one_that_was_done(self) -> None:
        self.assert_wrong("refused, and in", [deposit("d", NO)], [deposit_row(1, "d")])

    def test_sees_two_effects_of_one_key(self) -> None:
        books = [deposit_row(1, "d"), deposit_row(2, "d")]
        self.assert_wrong("2 effects", [deposit("d", LOST, ok(1))], books)

    def test_sees_what_nobody_asked_for(self) -> None:
        self.assert_wrong("nobody asked", [], [deposit_row(1, "d")])

    def test_sees_another_amount_wallet_kind_or_time(self) -> None:
        for change in (
            {"amount": 101},
            {"wallet": "v"},
            {"kind": WITHDRAWAL},
            {"scheduled_for": DUE},
        ):
            with self.subTest(change=change):
                books = [deposit_row(1, "d", **change)]
                self.assert_wrong("otherwise", [deposit("d", ok(1))], books)

    def test_sees_replays_that_differ(self) -> None:
        intents = [deposit("d", ok(1, balance=100), ok(1, balance=200))]
        self.assert_wrong("differently", intents, [deposit_row(1, "d")])

    def test_sees_an_answer_about_another_row(self) -> None:
        self.assert_wrong("with id 7", [deposit("d", ok(7))], [deposit_row(1, "d")])

    def test_sees_a_withdrawal_paid_twice(self) -> None:
        books = [withdrawal_row(1, "k", references=("a", "b"))]
        once = [Payment("a", "w", 60)]
        intents = [withdrawal("k", ok(1))]
        self.assertEqual(self.wrongs(intents, books, once), [])
        self.assert_wrong("paid 2 times", intents, books, once * 2)
        self.assert_wrong(
            "paid 2 times", intents, books, [*once, Payment("b", "w", 60)]
        )

    def test_sees_completed_without_payment(self) -> None:
        self.assert_wrong(
            "not paid", [withdrawal("k", ok(1))], [withdrawal_row(1, "k")]
        )

    def test_sees_failed_or_cancelled_with_payment(self) -> None:
        for status in ("FAILED", "CANCELLED"):
            with self.subTest(status=status):
                books = [withdrawal_row(1, "k", status=status, final=True)]
                intents = [withdrawal("k", ok(1)), cancel("k", LOST)]
                self.assert_wrong(": paid", intents, books, [Payment("r1", "w", 60)])

    def test_sees_what_was_never_settled(self) -> None:
        for status in ("PENDING", "PROCESSING", "FAILED"):
            with self.subTest(status=status):
                books = [withdrawal_row(1, "k", status=status)]
                self.assert_wrong("not settled", [withdrawal("k", ok(1))], books)

    def test_leaves_to_people_what_is_in_review(self) -> None:
        books = [withdrawal_row(1, "k", status="PROCESSING", needs_review=True)]
        for payments in ([], [Payment("r1", "w", 60)]):
            self.assertEqual(self.wrongs([withdrawal("k", ok(1))], books, payments), [])

    def test_sees_a_payment_unknown_to_the_books(self) -> None:
        self.assert_wrong("know nothing", [], [], [Payment("x", "w", 60)])

    def test_sees_a_payment_of_another_amount_or_wallet(self) -> None:
        for payment in (Payment("r1", "w", 61), Payment("r1", "v", 60)):
            with self.subTest(payment=payment):
                intents, books = [withdrawal("k", ok(1))], [withdrawal_row(1, "k")]
                self.assert_wrong("paid otherwise", intents, books, [payment])

    def test_sees_a_confirmed_cancellation_that_did_not_hold(self) -> None:
        intents = [withdrawal("k", ok(1)), cancel("k", ok(1))]
        books = [withdrawal_row(1, "k")]
        self.assert_wrong("cancelled for", intents, books, [Payment("r1", "w", 60)])

    def test_sees_a_refused_cancellation_that_happened(self) -> None:
        intents = [withdrawal("k", ok(1)), cancel("k", NO)]
        books = [withdrawal_row(1, "k", status="CANCELLED")]
        self.assert_wrong("not cancelled for", intents, books)

    def test_accepts_a_refused_cancellation_that_was_confirmed_later(self):
        """The first request came during an attempt, the second after its failure."""
        intents = [withdrawal("k", ok(1)), cancel("k", NO), cancel("k", ok(1))]
        books = [withdrawal_row(1, "k", status="CANCELLED")]
        self.assertEqual(self.wrongs(intents, books), [])

    def test_knows_the_time_of_a_rescheduled_withdrawal(self) -> None:
        payments = [Payment("r1", "w", 60)]
        for planned, *asked in (
            (1, reschedule("k", 1, ok(1))),
            (2, reschedule("k", 1, ok(1)), reschedule("k", 2, ok(1))),
            (1, reschedule("k", 1, ok(1)), reschedule("k", 2, NO)),
            (0, reschedule("k", 1, LOST)),
            (1, reschedule("k", 1, LOST)),
        ):
            intents = [withdrawal("k", ok(1)), *asked]
            when = DUE + timedelta(hours=planned)
            books = [withdrawal_row(1, "k", planned_for=when)]
            with self.subTest(planned=planned, asked=asked):
                self.assertEqual(self.wrongs(intents, books, payments), [])

    def test_sees_a_time_that_nobody_asked_for_or_that_was_not_confirmed(self) -> None:
        for planned, *asked in (
            (1,),
            (0, reschedule("k", 1, ok(1))),
            (1, reschedule("k", 1, NO)),
            (1, reschedule("k", 1, ok(1)), reschedule("k", 2, ok(1))),
        ):
            intents = [withdrawal("k", ok(1)), *asked]
            when = DUE + timedelta(hours=planned)
            books = [withdrawal_row(1, "k", planned_for=when)]
            with self.subTest(planned=planned, asked=asked):
                self.assert_wrong("planned for", intents, books)

    def test_sees_a_cancellation_that_nobody_asked_for(self) -> None:
        books = [withdrawal_row(1, "k", status="CANCELLED")]
        self.assert_wrong("nobody asked", [withdrawal("k", ok(1))], books)

    def test_sees_money_that_is_missing(self) -> None:
        intents, books = [deposit("d", ok(1))], [deposit_row(1, "d")]
        self.assert_wrong("holds 99", intents, books, balance=99)


class AnswerTest(SimpleTestCase):
    def test_is_unknown_unless_it_says_what_was_done(self) -> None:
        known = {
            (201, b'{"id": 1}'): OK,
            (400, b'{"code": "amount_invalid"}'): REFUSED,
            (409, b'{"code": "not_cancelable"}'): REFUSED,
            (409, b'{"code": "request_in_progress"}'): UNKNOWN,
            (503, b'{"code": "service_unavailable"}'): UNKNOWN,
            (500, b"<h1>Server Error</h1>"): UNKNOWN,
            (201, b""): UNKNOWN,
        }
        for (status, body), verdict in known.items():
            with self.subTest(status=status, body=body):
                self.assertEqual(read_answer(status, body).verdict, verdict)


class ReportTest(SimpleTestCase):
    def test_names_what_is_wrong_and_the_seed(self) -> None:
        report = Report(seed=7)
        report.died("worker-1")
        self.assertIn("worker-1 ended by itself", report.text())
        self.assertIn("1 wrong (seed 7)", report.text())

    def test_counts_processes_that_gave_up_inside_a_library(self) -> None:
        report = Report(seed=7)
        report.died("worker-1", gave_up=True)
        self.assertIn("gave up   1 processes", report.text())
        self.assertIn("0 wrong (seed 7)", report.text())


@marks.every_database
@marks.slow
class ChaosTest(SimpleTestCase):
    """A short chaos run on this engine; `make chaos` is the long one."""

    databases = {"default"}

    @marks.timeout(400)
    def test_ends_with_nothing_wrong(self) -> None:
        self.run_chaos("--seconds", "12", "--clients", "2")

    @marks.timeout(400)
    def test_ends_with_every_event_delivered_by_a_receiver_that_fails_and_lies(
        self,
    ) -> None:
        said = self.run_chaos("--seconds", "25", "--only", "webhooks")
        self.assertRegex(said, r"faults +([5-9]|[1-9][0-9])")
        self.assertRegex(said, r"[1-9][0-9]+ deliveries arrived")

    def run_chaos(self, *options: str) -> str:
        kinds = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mariadb"}
        database = kinds[connection.vendor]
        command = [sys.executable, "-m", "drills.chaos", "--seed", "7", *options]
        done = subprocess.run(
            [*command, "--database", database],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("0 wrong", done.stdout)
        return done.stdout
