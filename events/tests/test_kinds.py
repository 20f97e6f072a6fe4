"""Each change of the ledger has its type."""

from __future__ import annotations

import uuid

from django.test import SimpleTestCase

from events.models.event import EventType
from events.services import content, feed, kinds, sequencer
from wallets.models.ledger import Movement
from wallets.models.states import TRANSITIONS, State, rule_for
from wallets.models.wallet_change import WalletChange
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.operations.payment_return import record_return
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase


class KindsTest(SimpleTestCase):
    def test_know_every_movement(self) -> None:
        known = kinds.OF_MOVEMENTS.keys() | kinds.OF_OTHERS
        self.assertEqual(known, set(Movement.Kind.values))

    def test_know_every_change_of_a_wallet(self) -> None:
        self.assertEqual(kinds.OF_WALLET_CHANGES.keys(), set(WalletChange.Event.values))

    def test_know_every_change_of_a_withdrawal(self) -> None:
        self.assertEqual(kinds.OF_STATES.keys(), {state.value for state in State})
        for state, event in TRANSITIONS:
            for last_retry in (False, True):
                to = rule_for(state, event, last_retry=last_retry).to
                with self.subTest(event=event, to=to):
                    self.assertIn(event.value, kinds.KNOWN_EVENTS)
                    kind = kinds.OF_EVENTS.get(event.value) or kinds.OF_STATES[to.value]
                    self.assertIn(kind, EventType.values)

    def test_use_every_type(self) -> None:
        used = {*kinds.OF_MOVEMENTS.values(), *kinds.OF_STATES.values()}
        used |= {*kinds.OF_EVENTS.values(), *kinds.OF_WALLET_CHANGES.values()}
        used.add(EventType.WALLET_CREATED)
        self.assertEqual(used, set(EventType.values))

    def test_give_an_event_the_leg_of_its_movement_in_every_state(self) -> None:
        for (_, event), rule in TRANSITIONS.items():
            opens = rule.movements == ["hold"]
            expected = ("open" if opens else "close") if rule.money else None
            self.assertEqual(kinds.LEGS.get(event.value), expected)


class IdTest(WalletTestCase):
    """The id of an event is made from what happened, so it survives a restore."""

    def ids(self) -> dict[str, str]:
        sequencer.catch_up()
        records = feed.read(0, 99, wallet=self.alice.uuid)
        return {record.type: record.id for record in records}

    def test_is_the_same_for_the_same_request(self) -> None:
        key = uuid.uuid4()
        deposit_many([DepositRequest(self.alice.uuid, 5, key)])
        expected = uuid.uuid5(content._EVENTS, f"{self.alice.uuid} {key} deposit")
        self.assertEqual(self.ids()["deposit.completed"], str(expected))

    def test_of_a_wallet_is_made_from_its_uuid(self) -> None:
        expected = uuid.uuid5(content._EVENTS, f"{self.alice.uuid} created")
        self.assertEqual(self.ids()["wallet.created"], str(expected))

    def test_tells_the_steps_of_a_withdrawal_apart(self) -> None:
        self.deposit(100)
        withdrawal = self.due_withdrawal(40)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        told = {
            "return_reference": "RET 1",
            "reason": "closed",
            "actor": "operator oscar",
        }
        record_return(withdrawal.pk, 40, **told)
        ids = self.ids()
        self.assertEqual(len(set(ids.values())), 6)
        name = f"{self.alice.uuid} {withdrawal.idempotency_key} return"
        self.assertEqual(
            ids["withdrawal.returned"], str(uuid.uuid5(content._EVENTS, name))
        )
        name = f"{self.alice.uuid} {withdrawal.idempotency_key} 1 claim"
        self.assertEqual(
            ids["withdrawal.processing"], str(uuid.uuid5(content._EVENTS, name))
        )
