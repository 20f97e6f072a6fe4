"""The checkers of freezes, transfers and webhooks, which must detect every error."""

from __future__ import annotations

import copy
from typing import Any

from django.test import SimpleTestCase

from drills import checker, checker_life
from drills.checker import Row
from drills.checker_feed import Change, wrong_feed, wrong_receptions
from drills.checker_life import Change as LifeChange
from drills.history import (
    CLOSE,
    CORRECTION,
    DEPOSIT,
    FREEZE,
    OK,
    REFUSED,
    TRANSFER,
    UNFREEZE,
    UNKNOWN,
    WALLET,
    Answer,
    Intent,
)


def said(verdict: str, began: float, ended: float, **more: Any) -> Answer:
    return Answer(verdict, began=began, ended=ended, **more)


class TransferCheckerTest(SimpleTestCase):
    """Two deposits of 100 into "a"; a transfer of 60 to "b", 10 of which are taken back."""

    def setUp(self) -> None:
        body = {"transfer": {"from_transaction": 2, "to_transaction": 3}}
        self.intents = [
            Intent(DEPOSIT, "d", "a", 100, answers=[Answer(OK, 201, {"id": 1})]),
            Intent(TRANSFER, "t", "a", 60, to="b", answers=[Answer(OK, 201, body)]),
            Intent(CORRECTION, "c", "b", 10, corrects=3, answers=[Answer(UNKNOWN)]),
        ]
        self.books = [
            Row(1, "d", DEPOSIT, "a", 100, "COMPLETED"),
            Row(2, "t", TRANSFER, "a", 60, "COMPLETED"),
            Row(3, "?", checker.TRANSFER_IN, "b", 60, "COMPLETED", partner=2),
            Row(4, "c", CORRECTION, "b", 10, "COMPLETED", corrects=3),
            Row(
                *(5, "?", checker.CORRECTION_IN, "a", 10, "COMPLETED"),
                partner=4,
                corrects=2,
            ),
        ]
        self.balances = {"a": 50, "b": 50}

    def assert_wrong(self, reason: str) -> None:
        found = checker.wrongs(self.intents, self.books, self.balances, [])
        self.assertTrue(any(reason in wrong for wrong in found), found)

    def change(self, number: int, **changes: Any) -> None:
        self.books[number] = Row(**{**vars(self.books[number]), **changes})

    def test_accepts_what_is_right(self) -> None:
        found = checker.wrongs(self.intents, self.books, self.balances, [])
        self.assertEqual(found, [])

    def test_sees_a_half_that_is_missing(self) -> None:
        del self.books[2]
        self.assert_wrong("transfer t: its other halves are []")

    def test_sees_a_half_of_nothing(self) -> None:
        self.change(2, partner=1)
        self.assert_wrong("the half of nothing")

    def test_sees_a_half_in_another_wallet(self) -> None:
        self.change(2, wallet="x")
        self.assert_wrong("transfer t: its other halves")

    def test_sees_halves_of_different_amounts(self) -> None:
        self.change(2, amount=61)
        self.assert_wrong("gets 61 of 60")

    def test_sees_a_transfer_that_was_confirmed_and_is_gone(self) -> None:
        self.books = self.books[:1]
        self.assert_wrong("answered ok, and not in the books")

    def test_sees_a_correction_of_something_else(self) -> None:
        self.change(3, corrects=1)
        self.assert_wrong("in the books otherwise")
        self.assert_wrong("correction 4: corrects")

    def test_sees_a_correction_that_gives_the_payer_nothing(self) -> None:
        del self.books[4]
        self.assert_wrong("correction c: its other halves are []")

    def test_sees_more_corrected_than_was_moved(self) -> None:
        self.change(3, amount=70)
        self.assert_wrong("transaction 3: 70 of 60 are corrected")

    def test_sees_one_correction_twice(self) -> None:
        self.books.append(self.books[3])
        self.assert_wrong("2 effects of one key")

    def test_sees_a_correction_that_was_refused_and_done(self) -> None:
        self.intents[2].answers = [Answer(REFUSED)]
        self.assert_wrong("refused, and in the books")

    def test_sees_money_that_is_missing(self) -> None:
        self.balances["b"] = 49
        self.assert_wrong("holds 49, should hold 50")


class LifeCheckerTest(SimpleTestCase):
    """The wallet "w" is frozen from 10 to 20; each request takes a second."""

    def setUp(self) -> None:
        self.freeze = self.life(FREEZE, "f", 10, "frozen_out")
        self.unfreeze = self.life(UNFREEZE, "u", 20, "active")
        self.intents = [self.freeze, self.unfreeze]
        self.changes = [
            LifeChange("w", "frozen", "f", "frozen_out"),
            LifeChange("w", "unfrozen", "u", "active"),
        ]
        self.keys: set[str] = set()
        self.creations: list[tuple[str, str]] = []

    def life(self, kind: str, key: str, began: float, state: str) -> Intent:
        answer = said(OK, began, began + 1, body={"state": state})
        return Intent(kind, key, "w", 0, more={"direction": "out"}, answers=[answer])

    def transfer(self, *answers: Answer, wallet: str = "w", to: str = "v") -> None:
        self.intents.append(
            Intent(TRANSFER, "t", wallet, 5, to=to, answers=list(answers))
        )
        self.keys.add("t")

    def wrongs(self) -> list[str]:
        return checker_life.wrongs(
            self.intents, self.changes, self.keys, self.creations
        )

    def assert_wrong(self, reason: str) -> None:
        found = self.wrongs()
        self.assertTrue(any(reason in wrong for wrong in found), found)

    def test_accepts_what_is_right(self) -> None:
        self.transfer(said(OK, 21.5, 22))
        self.assertEqual(self.wrongs(), [])

    def test_sees_a_transfer_within_the_freeze(self) -> None:
        self.transfer(said(OK, 12, 13))
        self.assert_wrong("done while the wallet w was frozen_out")

    def test_accepts_what_may_have_been_before_or_after(self) -> None:
        for answers in (
            [said(OK, 10.5, 13)],  # sent before the freeze was answered
            [said(UNKNOWN, 9, 10), said(OK, 12, 13)],  # repeated within
            [said(UNKNOWN, 12, 13)],  # perhaps done later
            [said(OK, 19, 20.5)],  # answered after the unfreeze was sent
        ):
            with self.subTest(answers=answers):
                self.setUp()
                self.transfer(*answers)
                self.assertEqual(self.wrongs(), [])

    def test_accepts_what_comes_in_meanwhile(self) -> None:
        self.transfer(said(OK, 12, 13), wallet="v", to="w")
        self.assertEqual(self.wrongs(), [])

    def test_is_not_certain_after_an_unknown_answer(self) -> None:
        self.freeze.answers = [said(UNKNOWN, 10, 11)]
        self.transfer(said(OK, 12, 13))
        self.assertEqual(self.wrongs(), [])

    def test_sees_whatever_is_done_after_a_close(self) -> None:
        self.intents.append(self.life(CLOSE, "c", 30, "closed"))
        self.changes.append(LifeChange("w", "closed", "c", "closed"))
        self.transfer(said(UNKNOWN, 40, 41), wallet="v", to="w")
        self.assert_wrong("done while the wallet w was closed")

    def test_sees_a_refusal_without_a_freeze(self) -> None:
        self.transfer(said(REFUSED, 22, 23, detail="wallet_frozen"))
        self.assert_wrong("wallet_frozen, and it was not")

    def test_sees_a_close_that_did_not_hold(self) -> None:
        self.intents.append(self.life(CLOSE, "c", 30, "closed"))
        self.assert_wrong("answered ok, and it is not closed")
        self.changes += [
            LifeChange("w", "closed", "c", "closed"),
            LifeChange("w", "frozen", "f", "frozen"),
        ]
        self.assert_wrong("changed after it was closed")

    def test_sees_changes_that_nobody_asked_for_or_that_are_double(self) -> None:
        self.changes.append(LifeChange("w", "frozen", "x", "frozen"))
        self.assert_wrong("nobody asked")
        self.changes[-1] = self.changes[0]
        self.assert_wrong("done 2 times")

    def test_sees_a_change_that_was_refused(self) -> None:
        self.freeze.answers = [said(REFUSED, 10, 11)]
        self.assert_wrong("refused, and done")

    def test_sees_an_answer_with_another_state(self) -> None:
        self.freeze.answers = [said(OK, 10, 11, body={"state": "frozen_in"})]
        self.assert_wrong("answered with the state frozen_in")

    def test_sees_two_wallets_of_one_creation(self) -> None:
        told = [said(OK, 1, 2, body={"uuid": uuid}) for uuid in ("w", "v")]
        self.intents.append(Intent(WALLET, "k", "", 0, answers=told))
        self.creations = [("k", "w")]
        self.assert_wrong("wallet of key k: is w")
        self.creations = [("other", "w")]
        self.assert_wrong("nobody asked for it")


def event(position: int, kind: str, wallet: str = "w", **data: Any) -> dict[str, Any]:
    return {
        "id": f"e{position}",
        "position": position,
        "type": kind,
        "wallet": wallet,
        "data": data,
    }


class FeedCheckerTest(SimpleTestCase):
    """A wallet, a deposit, and a withdrawal that is paid."""

    def setUp(self) -> None:
        self.feed = [
            event(1, "wallet.created"),
            event(2, "deposit.completed", transaction=1, sequence=1),
            event(3, "withdrawal.scheduled", transaction=2, sequence=None),
            event(4, "withdrawal.processing", transaction=2, sequence=2),
            event(5, "withdrawal.completed", transaction=2, sequence=3),
        ]
        self.changes = [
            Change(one["type"], "w", one["data"].get("transaction", 0))
            for one in self.feed
        ]

    def assert_wrong(self, reason: str) -> None:
        found = list(wrong_feed(self.changes, self.feed))
        self.assertTrue(any(reason in wrong for wrong in found), found)

    def test_accepts_what_is_right(self) -> None:
        self.assertEqual(list(wrong_feed(self.changes, self.feed)), [])

    def test_sees_a_change_without_its_event(self) -> None:
        del self.feed[1]
        self.assert_wrong("0 events of 1 changes")
        self.assert_wrong("positions are not 1, 2, 3")

    def test_sees_an_event_of_nothing(self) -> None:
        self.feed.append(event(6, "deposit.completed", transaction=9, sequence=4))
        self.assert_wrong("1 events of 0 changes")

    def test_sees_an_event_twice(self) -> None:
        self.feed.append({**self.feed[1], "position": 6})
        self.assert_wrong("2 events e2")
        self.assert_wrong("sequence 1 comes too late")

    def test_sees_what_comes_before_the_wallet(self) -> None:
        first, second, *rest = self.feed
        first["position"], second["position"] = 2, 1
        self.feed = [second, first, *rest]
        self.assert_wrong("created again, or too late")

    def test_sees_a_history_in_another_order(self) -> None:
        one, two = self.feed[3], self.feed[2]
        one["position"], two["position"] = 3, 4
        self.feed[2:4] = [one, two]
        self.assert_wrong("withdrawal 2 is told as")


class ReceptionCheckerTest(SimpleTestCase):
    """A receiver that got three events of a wallet, the second one at the second try."""

    def setUp(self) -> None:
        self.wanted = [
            event(1, "wallet.created"),
            event(2, "deposit.completed"),
            event(3, "deposit.completed"),
        ]
        first, second, third = self.wanted
        self.lines = [
            *self.arrives(first),
            self.seen(second),
            *self.arrives(second),
            *self.arrives(third),
            self.seen(second),
        ]

    def seen(self, one: dict[str, Any]) -> dict[str, Any]:
        told = copy.deepcopy(one)
        return {"what": "seen", "hook": "all", "id": one["id"], "event": told}

    def arrives(self, one: dict[str, Any]) -> list[dict[str, Any]]:
        return [self.seen(one), {"what": "taken", "hook": "all", "id": one["id"]}]

    def assert_wrong(self, reason: str) -> None:
        found = list(wrong_receptions("all", self.wanted, self.lines))
        self.assertTrue(any(reason in wrong for wrong in found), found)

    def test_accepts_what_is_right(self) -> None:
        self.assertEqual(list(wrong_receptions("all", self.wanted, self.lines)), [])

    def test_sees_what_never_arrived(self) -> None:
        self.lines = self.lines[:-3]
        self.assert_wrong("has never taken")

    def test_sees_what_came_and_was_never_taken(self) -> None:
        self.lines = [*self.lines[:-3], self.seen(self.wanted[2])]
        self.assert_wrong("has never taken")

    def test_sees_what_came_before_an_earlier_one_was_taken(self) -> None:
        self.lines[2:5] = []
        self.lines += self.arrives(self.wanted[1])
        self.assert_wrong("came before ['e2']")

    def test_accepts_another_wallet_meanwhile(self) -> None:
        other = event(4, "wallet.created", wallet="v")
        self.wanted.append(other)
        self.lines[2:2] = self.arrives(other)
        self.assertEqual(list(wrong_receptions("all", self.wanted, self.lines)), [])

    def test_sees_what_is_invented(self) -> None:
        self.lines += self.arrives(event(9, "deposit.completed"))
        self.assert_wrong("invented")

    def test_sees_another_content(self) -> None:
        self.lines[-1]["event"]["data"] = {"amount": 7}
        self.assert_wrong("told")

    def test_sees_a_wrong_signature_and_a_forbidden_address(self) -> None:
        for what in ("forged", "trap"):
            with self.subTest(what):
                self.lines.append({"what": what, "hook": "all", "body": ""})
                self.assert_wrong(f"'{what}'")
