"""A damaged row among those that are read: the API and the commands tell the others.

The damage is done by raw SQL with the database's own rules off, as in
`test_damaged_rows`.
"""

from __future__ import annotations

from typing import Any

from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.services.ledger import ledger_audit
from wallets.tests.raw import a_hold, execute, insert, rules_off, update
from wallets.tests.test_commands_review import CommandTestCase


class DamagedReadTest(CommandTestCase):
    """Two withdrawals are in review; rows of the first one are damaged."""

    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def setUp(self) -> None:
        super().setUp()
        self.damaged, self.sound = self.in_review(), self.in_review()

    def damage(self, model: type, pk: int, **columns: Any) -> None:
        with rules_off(model):
            update(model, pk, columns)

    def test_lists_a_withdrawal_of_an_unknown_status_for_its_client(self) -> None:
        self.damage(Transaction, self.damaged.pk, status="BOGUS")
        path = f"/wallets/{self.alice.uuid}/transactions/"
        listed = self.client.get(path).json()
        self.assertEqual(len(listed), 3)
        one = self.client.get(f"{path}{self.damaged.pk}/").json()
        self.assertIn(one, listed)
        self.assertEqual((one["status"], one["cancelable"]), ("BOGUS", False))

    def test_lists_a_review_without_an_attempt_for_an_operator(self) -> None:
        with rules_off(Attempt):
            execute(
                f"DELETE FROM wallets_attempt WHERE transaction_id = {self.damaged.pk}"
            )
        self.check_review()

    def test_lists_a_review_of_an_unknown_time_for_an_operator(self) -> None:
        self.damage(Transaction, self.damaged.pk, unknown_since=None)
        self.check_review()

    def check_review(self) -> None:
        *lines, count = self.run_command("review").splitlines()
        told = {int(line.split()[0]): line for line in lines}
        self.assertIn("damaged, run verify_ledger", told[self.damaged.pk])
        self.assertIn("attempts 1", told[self.sound.pk])
        self.assertIn("2 waiting", count)

    def test_verifies_past_a_movement_of_an_unknown_kind(self) -> None:
        """The check that every such sentence points to did not survive it."""
        row = a_hold(self.alice.pk, self.damaged.pk, self.now) | {"kind": "bogus"}
        with rules_off(Movement):
            pk = insert(Movement, row)
        self.damage(Transaction, self.sound.pk, status="BOGUS")
        found = {(one.check, one.row) for one in ledger_audit.verify()}
        self.assertIn(("movement_kind", f"movement {pk}"), found)
        self.assertIn(("status", f"transaction {self.sound.pk}"), found)
