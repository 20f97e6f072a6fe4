"""Every rule that the database itself enforces, tested by SQL without the services.

Each test tries to damage the ledger, and the database refuses with the name of the
rule. SQLite names unique constraints and foreign keys by their columns.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import skipIf, skipUnless

from django.apps import apps
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Model, UniqueConstraint
from django.test import TestCase

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.base import MAX_MONEY
from wallets.models.composite_key import ForeignKeyConstraint
from wallets.models.correction import Correction
from wallets.models.ledger import Movement
from wallets.models.pause import Pause
from wallets.models.payment_return import PaymentReturn
from wallets.models.review_proposal import ReviewProposal
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.operations import safeguards
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, WalletTestCase, utc
from wallets.tests.raw import Columns, a_hold, execute, insert, prepared, update
from wallets.utils.database import append_only

NOON = utc(2026, 1, 1, 12)
# Placeholder of a withdrawal that has one row of each kind.
SAME = object()
# Placeholder of another wallet.
BOBS = object()
# Placeholders of a transfer, of its halves, and of a transaction of Bob's without money.
DONE, DEBIT, CREDIT, BOBS_EMPTY = object(), object(), object(), object()
# Placeholders of a correction's two transactions, and of Alice's wallet.
BACK, BACK_AGAIN, ALICES = object(), object(), object()
# Placeholders of the withdrawal and the credit of a return, and of one of Bob's.
RETURNED, GIVEN, BOBS_PAID, BOBS_GIVEN = object(), object(), object(), object()
CHAIN = ("correction_goes_on_from_the_one_before",)
# A half of a transfer, as changes of a hold.
HALF = {
    "kind": "transfer_out",
    "leg": "out",
    "to_account": "clearing",
    "attempt_number": 0,
}

# Invalid amounts. Positive-integer columns are also unsigned or checked, so a negative
# value is refused before the named constraint is checked.
TOO_MUCH = MAX_MONEY + 1


@dataclass(frozen=True)
class Hit:
    """A write that breaks one constraint: a valid row except for these columns.

    `also` names constraints that forbid the same rows. An engine reports the constraint
    that it checks first.
    """

    model: type[Model]
    constraint: str
    columns: Columns
    also: tuple[str, ...] = ()


# The names of primary keys, which forbid a second row of an id before other rules.
PRIMARY_KEY = ("wallets_transaction_pkey", "PRIMARY", "wallets_transaction.id")

HITS = (
    Hit(Wallet, "wallet_balance_within_limits", {"balance": TOO_MUCH}),
    Hit(Wallet, "wallet_held_has_room_to_return", {"balance": MAX_MONEY, "held": 1}),
    Hit(Wallet, "wallet_held_has_room_to_return", {"held": TOO_MUCH}),
    Hit(Wallet, "wallet_reference_of_tenant_unique", {"reference": "alice"}),
    Hit(Wallet, "wallet_reference_not_empty", {"reference": ""}),
    Hit(
        Wallet,
        "wallet_creation_key_of_tenant_unique",
        {"creation_key": uuid.UUID(int=3)},
    ),
    Hit(Wallet, "wallet_currency_has_three_letters", {"currency": "EU"}),
    Hit(Wallet, "wallet_currency_has_three_letters", {"currency": "eur"}),
    Hit(Wallet, "wallet_closed_is_empty", {"closed": True, "balance": 1}),
    Hit(Wallet, "wallet_closed_is_empty", {"closed": True, "held": 1}),
    Hit(WalletChange, "wallet_change_sequence_unique", {"sequence": 1}),
    Hit(WalletChange, "wallet_change_sequence_positive", {"sequence": 0}),
    Hit(WalletChange, "wallet_change_event_known", {"event": "thawed"}),
    Hit(
        Transaction,
        "transaction_waiting_is_to_be_paid",
        {"waits_for_wallet": True, "status": "COMPLETED", "executed_at": NOON},
    ),
    Hit(
        Transaction,
        "transaction_waiting_is_to_be_paid",
        {"waits_for_wallet": True, "status": "FAILED", "final": True},
    ),
    Hit(
        Transaction,
        "transaction_waiting_is_to_be_paid",
        {"waits_for_wallet": True, "fails_if_frozen": True},
    ),
    Hit(
        Transaction, "transaction_wallet_and_id_unique", {"id": SAME}, also=PRIMARY_KEY
    ),
    Hit(
        Transaction,
        "transaction_idempotency_key_of_tenant_unique",
        {"idempotency_key": uuid.UUID(int=1)},
    ),
    Hit(
        Transaction,
        "transaction_key_of_tenants_wallet_unique",
        {
            "idempotency_key": uuid.UUID(int=4),
            "from_tenants_wallet": True,
            "tenant": "acme",
        },
    ),
    Hit(
        Transaction,
        "transaction_from_tenants_wallet_is_withdrawal",
        {
            "from_tenants_wallet": True,
            "transaction_type": "DEPOSIT",
            "scheduled_for": None,
            "status": "COMPLETED",
            "executed_at": NOON,
        },
    ),
    Hit(Transaction, "transaction_amount_within_limits", {"amount": 0}),
    Hit(Transaction, "transaction_amount_within_limits", {"amount": TOO_MUCH}),
    Hit(Transaction, "transaction_schedule_matches_type", {"scheduled_for": None}),
    Hit(
        Transaction,
        "transaction_schedule_matches_type",
        {
            "transaction_type": "DEPOSIT",
            "status": "COMPLETED",
            "executed_at": NOON,
        },
    ),
    Hit(
        Transaction,
        "transaction_deposit_is_completed",
        {"transaction_type": "DEPOSIT", "scheduled_for": None},
    ),
    Hit(
        Transaction,
        "transaction_rescheduled_is_withdrawal",
        {
            **{"first_scheduled_for": NOON, "scheduled_for": None},
            **{"transaction_type": "DEPOSIT", "status": "COMPLETED"},
            "executed_at": NOON,
        },
    ),
    Hit(Transaction, "transaction_status_known", {"status": "PAID"}),
    Hit(Transaction, "transaction_status_known", {"status": ""}),
    Hit(Transaction, "transaction_completed_has_executed_at", {"status": "COMPLETED"}),
    Hit(Transaction, "transaction_unknown_is_processing", {"unknown_since": NOON}),
    Hit(Transaction, "transaction_review_is_unknown", {"needs_review": True}),
    Hit(Transaction, "transaction_final_is_failed", {"final": True}),
    Hit(
        Transaction,
        "transaction_cancelled_is_not_failed",
        {"status": "CANCELLED", "failure_code": "rejected_by_bank"},
    ),
    Hit(
        Transaction,
        "transaction_cancelled_is_not_failed",
        {"status": "CANCELLED", "next_attempt_at": NOON},
    ),
    Hit(Movement, "movement_in_its_transactions_wallet", {"wallet": BOBS}),
    Hit(Movement, "movement_in_its_transactions_wallet", {"transaction": 10**9}),
    Hit(Movement, "movement_sequence_unique", {"sequence": 1}),
    Hit(Movement, "movement_leg_unique", {"attempt_number": 1}),
    Hit(Movement, "movement_amount_within_limits", {"amount": 0}),
    Hit(Movement, "movement_amount_within_limits", {"amount": TOO_MUCH}),
    Hit(Movement, "movement_balance_within_limits", {"balance_after": TOO_MUCH}),
    Hit(Movement, "movement_sequence_positive", {"sequence": 0}),
    Hit(
        Movement,
        "movement_between_two_accounts",
        {"from_account": "wallet", "to_account": "wallet"},
        also=("movement_accounts_match_kind",),
    ),
    # Each kind with the leg, the accounts or the attempt of another kind.
    Hit(Movement, "movement_accounts_match_kind", {"kind": "deposit"}),
    Hit(Movement, "movement_accounts_match_kind", {"kind": "settle"}),
    Hit(Movement, "movement_accounts_match_kind", {"kind": "release"}),
    Hit(Movement, "movement_accounts_match_kind", {"kind": "gift"}),
    Hit(Movement, "movement_accounts_match_kind", {"leg": "close"}),
    Hit(Movement, "movement_accounts_match_kind", {"from_account": "outside"}),
    Hit(Movement, "movement_accounts_match_kind", {"to_account": "outside"}),
    Hit(Movement, "movement_accounts_match_kind", {"attempt_number": 0}),
    Hit(
        Movement, "movement_accounts_match_kind", HALF | {"transfer": DONE, "leg": "in"}
    ),
    Hit(Movement, "movement_accounts_match_kind", HALF | {"kind": "hold"}),
    Hit(
        Movement,
        "movement_accounts_match_kind",
        {"kind": "correction_out", "leg": "back", "attempt_number": 0},
    ),
    Hit(
        Movement,
        "movement_accounts_match_kind",
        {"kind": "return", "leg": "bank", "attempt_number": 0},
    ),
    Hit(Movement, "movement_half_of_a_transfer", HALF | {"transfer": uuid.UUID(int=9)}),
    Hit(Movement, "movement_one_per_half", HALF | {"transfer": DONE}),
    Hit(Movement, "movement_transfer_matches_kind", HALF),
    Hit(Movement, "movement_transfer_matches_kind", {"transfer": DONE}),
    Hit(Transfer, "transfer_debit_unique", {"debit": DEBIT}),
    Hit(Transfer, "transfer_credit_unique", {"credit": CREDIT}),
    Hit(Transfer, "transfer_takes_money_of_its_wallet", {"from_wallet": 10**9}),
    Hit(Transfer, "transfer_gives_money_to_its_wallet", {"to_wallet": 10**9}),
    Hit(Transfer, "transfer_takes_money_of_its_wallet", {"debit": SAME}),
    Hit(Transfer, "transfer_gives_money_to_its_wallet", {"credit": BOBS_EMPTY}),
    Hit(
        Transfer,
        "transfer_between_two_wallets",
        {"from_wallet": BOBS},
        also=("transfer_takes_money_of_its_wallet",),
    ),
    Hit(Transfer, "transfer_amount_within_limits", {"amount": 0}),
    Hit(Transfer, "transfer_amount_within_limits", {"amount": TOO_MUCH}),
    Hit(Transfer, "transfer_refers_to_its_halves", {"attempt_number": 1}),
    Hit(Transfer, "transfer_refers_to_its_halves", {"debit_leg": "in"}),
    Hit(Transfer, "transfer_refers_to_its_halves", {"credit_leg": "out"}),
    # The valid row is the second correction of a transfer.
    Hit(
        Correction,
        "correction_number_unique",
        {"number": 1, "previous": None},
        also=("correction_link_unique",),
    ),
    Hit(
        Correction,
        "correction_link_unique",
        {"number": 1, "previous": None, "left_before": 6, "left_after": 4},
        also=("correction_number_unique",),
    ),
    Hit(Correction, "correction_debit_unique", {"debit": BACK}),
    Hit(Correction, "correction_credit_unique", {"credit": BACK_AGAIN}),
    Hit(
        Correction,
        "correction_goes_on_from_the_one_before",
        {"left_before": 5, "left_after": 3},
    ),
    Hit(
        Correction,
        "correction_goes_on_from_the_one_before",
        {"number": 3, "previous": 2},
    ),
    Hit(
        Correction,
        "correction_of_money_that_came_into_its_wallet",
        {"corrects": SAME},
        also=CHAIN,
    ),
    Hit(
        Correction,
        "correction_of_money_that_came_into_its_wallet",
        {"corrects": BOBS_EMPTY},
        also=CHAIN,
    ),
    Hit(
        Correction,
        "correction_takes_money_of_its_wallet",
        {"wallet": ALICES},
        also=("correction_of_money_that_came_into_its_wallet",),
    ),
    Hit(Correction, "correction_takes_money_of_its_wallet", {"debit": BOBS_EMPTY}),
    Hit(
        Correction,
        "correction_gives_money_to_the_payer",
        {"payer": BOBS},
        also=("correction_of_the_payers_transaction",),
    ),
    Hit(
        Correction,
        "correction_of_the_payers_transaction",
        {"credit_corrects": BOBS_EMPTY},
    ),
    Hit(Correction, "correction_gives_money_to_the_payer", {"credit": SAME}),
    Hit(
        Correction,
        "correction_amount_within_limits",
        {"amount": 0, "left_after": 4},
    ),
    Hit(
        Correction,
        "correction_amount_within_limits",
        {"amount": TOO_MUCH, "left_before": TOO_MUCH, "left_after": 0},
        also=CHAIN,
    ),
    Hit(Correction, "correction_leaves_the_rest", {"left_after": 3}),
    Hit(Correction, "correction_leaves_the_rest", {"amount": 5}),
    Hit(Correction, "correction_after_the_one_before", {"previous": None}),
    Hit(Correction, "correction_after_the_one_before", {"number": 3, "previous": 1}),
    Hit(Correction, "correction_of_a_deposit_or_of_both_halves", {"credit": None}),
    Hit(Correction, "correction_of_a_deposit_or_of_both_halves", {"payer": None}),
    Hit(
        Correction,
        "correction_of_a_deposit_or_of_both_halves",
        {"corrects_leg": "back"},
        also=("correction_of_money_that_came_into_its_wallet",),
    ),
    Hit(
        Correction,
        "correction_refers_to_its_movements",
        {"leg": "in"},
        also=("correction_takes_money_of_its_wallet",),
    ),
    Hit(
        Correction,
        "correction_refers_to_its_movements",
        {"attempt_number": 1},
        also=("correction_takes_money_of_its_wallet",),
    ),
    Hit(PaymentReturn, "return_once_per_withdrawal", {"withdrawal": RETURNED}),
    Hit(PaymentReturn, "return_credit_unique", {"credit": GIVEN}),
    Hit(
        PaymentReturn, "return_of_its_wallets_ended_attempt", {"withdrawal": BOBS_PAID}
    ),
    Hit(PaymentReturn, "return_of_its_wallets_ended_attempt", {"withdrawal": SAME}),
    Hit(PaymentReturn, "return_of_its_wallets_ended_attempt", {"attempt_number": 2}),
    Hit(PaymentReturn, "return_gives_money_to_its_wallet", {"credit": BOBS_GIVEN}),
    Hit(PaymentReturn, "return_gives_money_to_its_wallet", {"credit": SAME}),
    Hit(PaymentReturn, "return_gives_money_to_its_wallet", {"credit": DEBIT}),
    Hit(PaymentReturn, "return_of_no_more_than_was_paid", {"amount": 0}),
    Hit(PaymentReturn, "return_of_no_more_than_was_paid", {"amount": 6}),
    Hit(PaymentReturn, "return_of_no_more_than_was_paid", {"paid": TOO_MUCH}),
    Hit(PaymentReturn, "return_has_its_evidence", {"return_reference": ""}),
    # Movements that exist, and are not those of a return.
    Hit(
        PaymentReturn,
        "return_refers_to_its_movements",
        {"withdrawal": SAME, "paid_leg": "open"},
    ),
    Hit(
        PaymentReturn,
        "return_refers_to_its_movements",
        {"withdrawal": DEBIT, "attempt_number": 0, "paid_leg": "out"},
    ),
    Hit(
        PaymentReturn,
        "return_refers_to_its_movements",
        {"credit": SAME, "credit_attempt": 1, "credit_leg": "open"},
    ),
    Hit(Attempt, "attempt_number_unique", {"transaction": SAME, "number": 1}),
    Hit(Attempt, "attempt_reference_unique", {"reference": uuid.UUID(int=2)}),
    Hit(
        Attempt,
        "attempt_one_open",
        {"transaction": SAME, "open": True, "outcome": "", "closed_at": None},
    ),
    Hit(Attempt, "attempt_open_or_closed", {"closed_at": None}),
    Hit(Attempt, "attempt_open_or_closed", {"open": True, "outcome": "unknown"}),
    Hit(Attempt, "attempt_open_or_closed", {"open": False, "outcome": ""}),
    Hit(
        Attempt,
        "attempt_open_or_closed",
        {"open": False, "outcome": "", "closed_at": None},
    ),
    Hit(Attempt, "attempt_open_has_no_outcome", {"open": True, "closed_at": None}),
    Hit(Attempt, "attempt_closed_has_outcome", {"outcome": ""}),
    Hit(Attempt, "attempt_closed_has_outcome", {"outcome": "unknown"}),
    Hit(Attempt, "attempt_closed_has_outcome", {"outcome": "perhaps"}),
    Hit(Attempt, "attempt_number_positive", {"number": 0}),
    Hit(Transition, "transition_sequence_unique", {"sequence": 0}),
    Hit(Transition, "transition_reschedule_has_its_time", {"event": "reschedule"}),
    Hit(Transition, "transition_reschedule_has_its_time", {"scheduled_for": NOON}),
    Hit(Alarm, "alarm_once_per_subject", {"attempt_number": 1}),
    Hit(Pause, "pause_one_open", {"open": True, "resumed_at": None}),
    Hit(Pause, "pause_open_or_resumed", {"resumed_at": None}),
    Hit(Pause, "pause_open_or_resumed", {"open": False}),
    Hit(Pause, "pause_open_or_resumed", {"open": False, "resumed_at": None}),
    Hit(ReviewProposal, "review_proposal_one_each", {"transaction": SAME}),
)


@contextmanager
def undone() -> Iterator[None]:
    """Roll back the writes of the block."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def constraints_of(model: type[Model]) -> dict[str, Any]:
    return {constraint.name: constraint for constraint in model._meta.constraints}


def names_in_database(model: type[Model]) -> set[str]:
    """Return the names of the rules in the database."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        found = set(connection.introspection.get_constraints(cursor, table))
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [table])
            found |= set(
                re.findall(r'CONSTRAINT "(\w+)" FOREIGN KEY', cursor.fetchone()[0])
            )
    return found


def name_by_columns(model: type[Model], constraint: Any) -> list[str]:
    """Return SQLite's name of a constraint: its columns.

    Of a foreign key only the table: Django may name a column of another key of it.
    """
    columns = [
        f"{model._meta.db_table}.{model._meta.get_field(name).column}"
        for name in getattr(constraint, "fields", ())
    ]
    if isinstance(constraint, ForeignKeyConstraint):
        return [f"invalid foreign key: {model._meta.db_table}."]
    return [", ".join(columns)] if isinstance(constraint, UniqueConstraint) else []


class ConstraintTestCase(WalletTestCase):
    """A wallet with one row of each kind, to which new rows are valid."""

    def setUp(self) -> None:
        super().setUp()
        self.full = insert(
            Transaction, self.a_withdrawal(idempotency_key=uuid.UUID(int=1))
        )
        self.empty = insert(Transaction, self.a_withdrawal())
        of_tenant = {"idempotency_key": uuid.UUID(int=4), "from_tenants_wallet": True}
        insert(Transaction, self.a_withdrawal(**of_tenant))
        insert(
            Attempt,
            self.an_attempt(
                transaction=self.full, number=1, reference=uuid.UUID(int=2)
            ),
        )
        insert(
            Attempt,
            self.an_attempt(
                transaction=self.full, number=2, open=True, outcome="", closed_at=None
            ),
        )
        insert(Movement, self.a_hold(attempt_number=1, sequence=1))
        insert(Transition, self.a_transition(sequence=0))
        insert(Alarm, self.an_alarm(attempt_number=1))
        insert(Pause, self.a_pause(open=True, resumed_at=None))
        insert(ReviewProposal, self.a_proposal(transaction=self.full))
        named = {"reference": "alice", "creation_key": uuid.UUID(int=3)}
        insert(Wallet, self.a_wallet() | named)
        insert(WalletChange, self.a_wallet_change(sequence=1))
        self.bobs = insert(Transaction, self.a_withdrawal(wallet=self.bob.pk))
        self.done = self.a_transfer()
        insert(Transfer, self.done)
        self.back = self.a_correction(number=1, previous=None, left_before=5)
        insert(Correction, self.back | {"amount": 1, "left_after": 4})
        self.bobs_return = self.a_return(self.bob)
        self.returned = self.a_return()
        insert(PaymentReturn, self.returned)

    # These rows are no history of a service.
    books_must_be_right = False

    def valid(self, model: type[Model]) -> Columns:
        """Return a row that every constraint allows."""
        builders: dict[type[Model], Callable[..., Columns]] = {
            Wallet: self.a_wallet,
            Transaction: self.a_withdrawal,
            Movement: self.a_hold,
            Attempt: self.an_attempt,
            Transition: self.a_transition,
            Alarm: self.an_alarm,
            Pause: self.a_pause,
            ReviewProposal: self.a_proposal,
            WalletChange: self.a_wallet_change,
            Transfer: self.a_transfer,
            Correction: self.a_correction,
            PaymentReturn: self.a_return,
        }
        return builders[model]()

    def a_wallet(self) -> Columns:
        return {
            "uuid": uuid.uuid4(),
            "balance": 0,
            "held": 0,
            "movement_count": 0,
            "created_at": NOON,
            "updated_at": NOON,
        }

    def a_withdrawal(self, **changes: Any) -> Columns:
        return {
            "wallet": self.alice.pk,
            "transaction_type": "WITHDRAWAL",
            "amount": 5,
            "status": "PENDING",
            "idempotency_key": uuid.uuid4(),
            "scheduled_for": NOON,
            "executed_at": None,
            "retry_count": 0,
            "next_attempt_at": None,
            "final": False,
            "unknown_since": None,
            "needs_review": False,
            "failure_code": "",
            "third_party_response": "",
            "version": 0,
            "created_at": NOON,
            "updated_at": NOON,
        } | changes

    def an_attempt(self, **changes: Any) -> Columns:
        return {
            "transaction": self.empty,
            "number": 9,
            "reference": uuid.uuid4(),
            "open": None,
            "outcome": "rejected",
            "claim_token": uuid.uuid4(),
            "sends": 1,
            "started_at": NOON,
            "last_sent_at": NOON,
            "lease_expires_at": NOON,
            "closed_at": NOON,
            "next_check_at": None,
            "checks": 0,
            "not_found_count": 0,
            "http_status": None,
            "answer": "",
            "created_at": NOON,
            "updated_at": NOON,
        } | changes

    def a_hold(self, **changes: Any) -> Columns:
        return a_hold(self.alice.pk, self.full, NOON) | changes

    def a_transition(self, **changes: Any) -> Columns:
        return {
            "transaction": self.full,
            "sequence": 9,
            "event": "schedule",
            "from_state": "",
            "to_state": "pending",
            "attempt_number": None,
            "actor": "client",
            "evidence": "",
            "created_at": NOON,
        } | changes

    def an_alarm(self, **changes: Any) -> Columns:
        return {
            "kind": "needs_review",
            "subject": f"withdrawal {self.full}",
            "transaction": self.full,
            "attempt_number": 9,
            "detail": "",
            "acknowledged_at": None,
            "acknowledged_by": "",
            "created_at": NOON,
            "updated_at": NOON,
        } | changes

    def a_pause(self, **changes: Any) -> Columns:
        return {
            "open": None,
            "paused_at": NOON,
            "paused_by": "oscar",
            "reason": "",
            "resumed_at": NOON,
            "resumed_by": "oscar",
        } | changes

    def a_proposal(self, **changes: Any) -> Columns:
        return {
            "transaction": self.empty,
            "attempt_number": 1,
            "proposed_by": "oscar",
            "user_id": None,
            "evidence": "letter",
            "created_at": NOON,
        } | changes

    def a_wallet_change(self, **changes: Any) -> Columns:
        return {
            "wallet": self.alice.pk,
            "sequence": 9,
            "event": "changed",
            "before": "{}",
            "after": "{}",
            "actor": "client",
            "reason": "",
            "created_at": NOON,
        } | changes

    def a_transfer(self) -> Columns:
        """Insert both halves of a transfer, and return its row."""
        transfer = {
            "uuid": uuid.uuid4(),
            "from_wallet": self.alice.pk,
            "to_wallet": self.bob.pk,
            "amount": 5,
            "created_at": NOON,
            "attempt_number": 0,
            "debit_leg": "out",
            "credit_leg": "in",
        }
        number = 20 + 2 * Movement.objects.count()
        for name, leg, wallet, source, target in (
            ("debit", "out", self.alice.pk, "wallet", "clearing"),
            ("credit", "in", self.bob.pk, "clearing", "wallet"),
        ):
            transfer[name] = insert(
                Transaction,
                self.a_withdrawal(
                    wallet=wallet,
                    transaction_type=f"TRANSFER_{leg.upper()}",
                    scheduled_for=None,
                    status="COMPLETED",
                    executed_at=NOON,
                ),
            )
            half = a_hold(wallet, transfer[name], NOON) | {
                "transfer": transfer["uuid"],
                "attempt_number": 0,
                "kind": f"transfer_{leg}",
                "leg": leg,
                "from_account": source,
                "to_account": target,
                "sequence": number,
            }
            insert(Movement, half)
        return transfer

    def a_correction(self, **changes: Any) -> Columns:
        """Insert both parts of a correction of the transfer, and return its row."""
        correction = {
            "wallet": self.bob.pk,
            "corrects": self.done["credit"],
            "number": 2,
            "previous": 1,
            "amount": 2,
            "left_before": 4,
            "left_after": 2,
            "payer": self.alice.pk,
            "credit_corrects": self.done["debit"],
            "reason": "",
            "actor": "oscar",
            "created_at": NOON,
            "corrects_leg": "in",
            "attempt_number": 0,
            "leg": "back",
        }
        number = 20 + 2 * Movement.objects.count()
        for name, wallet, way, ends in (
            ("debit", self.bob.pk, "out", ("wallet", "outside")),
            ("credit", self.alice.pk, "in", ("outside", "wallet")),
        ):
            correction[name] = insert(
                Transaction,
                self.a_withdrawal(
                    wallet=wallet,
                    transaction_type=f"CORRECTION_{way.upper()}",
                    scheduled_for=None,
                    status="COMPLETED",
                    executed_at=NOON,
                ),
            )
            part = a_hold(wallet, correction[name], NOON) | {
                "attempt_number": 0,
                "kind": f"correction_{way}",
                "leg": "back",
                "from_account": ends[0],
                "to_account": ends[1],
                "sequence": number,
            }
            insert(Movement, part)
        return correction | changes

    def a_return(self, wallet: Wallet | None = None) -> Columns:
        """Insert a paid withdrawal and the credit of its return, and return its row."""
        pk = (wallet or self.alice).pk
        number = 20 + 2 * Movement.objects.count()
        paid = {"wallet": pk, "status": "COMPLETED", "executed_at": NOON}
        withdrawal = insert(Transaction, self.a_withdrawal(**paid))
        settle = {
            "attempt_number": 1,
            "kind": "settle",
            "leg": "close",
            "from_account": "in_flight",
            "to_account": "outside",
            "sequence": number,
        }
        insert(Movement, a_hold(pk, withdrawal, NOON) | settle)
        given = {"transaction_type": "RETURN", "scheduled_for": None}
        credit = insert(Transaction, self.a_withdrawal(**paid, **given))
        back = {
            "attempt_number": 0,
            "kind": "return",
            "leg": "bank",
            "from_account": "outside",
            "to_account": "wallet",
            "sequence": number + 1,
        }
        insert(Movement, a_hold(pk, credit, NOON) | back)
        return {
            "wallet": pk,
            "withdrawal": withdrawal,
            "attempt_number": 1,
            "paid": 5,
            "amount": 5,
            "credit": credit,
            "return_reference": "RET 1",
            "reason": "",
            "actor": "oscar",
            "created_at": NOON,
            "paid_leg": "close",
            "credit_attempt": 0,
            "credit_leg": "bank",
        }

    def columns_of(self, hit: Hit) -> Columns:
        stands_for = {
            SAME: self.full,
            BOBS: self.bob.pk,
            DONE: self.done["uuid"],
            DEBIT: self.done["debit"],
            CREDIT: self.done["credit"],
            BOBS_EMPTY: self.bobs,
            BACK: self.back["debit"],
            BACK_AGAIN: self.back["credit"],
            ALICES: self.alice.pk,
            RETURNED: self.returned["withdrawal"],
            GIVEN: self.returned["credit"],
            BOBS_PAID: self.bobs_return["withdrawal"],
            BOBS_GIVEN: self.bobs_return["credit"],
        }
        return {
            name: stands_for.get(value, value) for name, value in hit.columns.items()
        }

    def assert_refused(self, hit: Hit, write: Callable[[], object]) -> None:
        """Check that the database refuses the write and names one of these rules."""
        with self.assertRaises(DatabaseError) as got, transaction.atomic():
            write()
            # Deferred constraints are checked now instead of at COMMIT.
            connection.check_constraints()
        message = str(got.exception)
        names = [hit.constraint, *hit.also]
        constraint = constraints_of(hit.model)[hit.constraint]
        if connection.vendor == "sqlite":
            names += name_by_columns(hit.model, constraint)
        self.assertTrue(
            any(name in message for name in names),
            f"{hit.constraint} should have refused it, but: {message}",
        )


class ConstraintTest(ConstraintTestCase):
    def test_every_constraint_of_every_model_is_tested(self):
        declared = {
            name
            for model in apps.get_app_config("wallets").get_models()
            for name in constraints_of(model)
        }
        hit = {each.constraint for each in HITS}
        self.assertEqual(
            declared - hit,
            set(),
            "add a Hit for each of these to HITS in wallets/tests/test_constraints.py",
        )
        self.assertEqual(hit - declared, set(), "these constraints are gone: drop them")

    @marks.slow
    def test_every_constraint_is_in_the_database(self):
        for model in apps.get_app_config("wallets").get_models():
            possible = {
                name
                for name, constraint in constraints_of(model).items()
                if safeguards.is_possible(constraint, connection)
            }
            missing = possible - names_in_database(model)
            self.assertEqual(missing, set(), f"{model.__name__}: add a migration")

    def test_a_row_that_breaks_no_rule_is_accepted(self):
        for model in dict.fromkeys(hit.model for hit in HITS):
            with self.subTest(model.__name__), undone():
                insert(model, self.valid(model))

    @marks.slow
    def test_refuses_the_insert_of_a_row_that_breaks_it(self):
        for hit in HITS:
            constraint = constraints_of(hit.model)[hit.constraint]
            if not safeguards.is_possible(constraint, connection):
                continue
            with self.subTest(hit.constraint, **hit.columns), undone():
                row = self.valid(hit.model) | self.columns_of(hit)
                self.assert_refused(
                    hit, lambda hit=hit, row=row: insert(hit.model, row)
                )

    def test_refuses_the_update_of_a_row_that_would_break_it(self):
        for hit in HITS:
            if hit.model._meta.db_table in append_only.APPEND_ONLY_TABLES:
                continue  # see AppendOnlyTest
            constraint = constraints_of(hit.model)[hit.constraint]
            if not safeguards.is_possible(constraint, connection):
                continue
            with self.subTest(hit.constraint, **hit.columns), undone():
                pk = insert(hit.model, self.valid(hit.model))
                columns = self.columns_of(hit)
                self.assert_refused(
                    hit,
                    lambda hit=hit, pk=pk, new=columns: update(hit.model, pk, new),
                )

    def test_refuses_a_balance_below_zero(self):
        for model, column in (
            (Wallet, "balance"),
            (Wallet, "held"),
            (Movement, "balance_after"),
            (Movement, "amount"),
            (Transaction, "amount"),
        ):
            row = self.valid(model) | {column: -1}
            with (
                self.subTest(column, model=model.__name__),
                self.assertRaises(DatabaseError),
                transaction.atomic(),
            ):
                insert(model, row)

    def test_refuses_a_second_wallet_of_the_same_uuid(self):
        row = self.a_wallet() | {"uuid": self.alice.uuid}
        with self.assertRaises(IntegrityError), transaction.atomic():
            insert(Wallet, row)


class OverflowTest(ConstraintTestCase):
    """Beyond 2**63 SQLite silently uses floating point, unless a rule refuses it."""

    def test_refuses_a_number_that_the_column_cannot_hold(self):
        for model, column in (
            (Wallet, "balance"),
            (Wallet, "held"),
            (Transaction, "amount"),
            (Movement, "amount"),
            (Movement, "balance_after"),
        ):
            for text in ("9223372036854775808", "1e22", "1e400"):
                row = self.valid(model)
                names, values = prepared(model, row)
                places = [
                    text if key == column else "%s" for key in row
                ]  # a literal: drivers refuse such a parameter themselves
                values = [
                    value
                    for key, value in zip(row, values, strict=True)
                    if key != column
                ]
                sql = (
                    f"INSERT INTO {model._meta.db_table} ({', '.join(names)})"
                    f" VALUES ({', '.join(places)})"
                )
                with (
                    self.subTest(column, model=model.__name__, text=text),
                    self.assertRaises(DatabaseError),
                    transaction.atomic(),
                    connection.cursor() as cursor,
                ):
                    cursor.execute(sql, values)

    def test_refuses_a_sum_that_overflows(self):
        update(Wallet, self.alice.pk, {"balance": MAX_MONEY})
        for change in ("balance + 9223372036854775807", "balance * balance"):
            with (
                self.subTest(change),
                self.assertRaises(DatabaseError),
                transaction.atomic(),
            ):
                execute(
                    f"UPDATE wallets_wallet SET balance = {change}"
                    f" WHERE id = {self.alice.pk}"
                )
        self.alice.refresh_from_db()
        self.assertEqual(self.alice.balance, MAX_MONEY)
        self.assertIs(type(self.alice.balance), int)


class AppendOnlyTest(ConstraintTestCase):
    """Rows of the history are never changed or deleted, by any statement."""

    tables = append_only.APPEND_ONLY_TABLES

    def refuse(self, sql: str) -> None:
        with self.assertRaises(DatabaseError) as got, transaction.atomic():
            execute(sql)
        self.assertIn("is append-only", str(got.exception))

    def test_refuses_an_update(self):
        for table in self.tables:
            with self.subTest(table):
                self.refuse(f"UPDATE {table} SET created_at = created_at")

    def test_refuses_a_delete(self):
        for table in self.tables:
            with self.subTest(table):
                self.refuse(f"DELETE FROM {table}")

    @skipUnless(connection.vendor == "postgresql", "no trigger stops it elsewhere")
    def test_refuses_a_truncate(self):
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in self.tables:
            with self.subTest(table):
                # Without CASCADE a table that others refer to is refused anyway.
                self.refuse(f"TRUNCATE {table} CASCADE")

    @skipUnless(connection.vendor == "sqlite", "REPLACE is SQLite's short cut")
    def test_refuses_to_replace_a_row(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT min(id) FROM wallets_movement")
            ((pk,),) = cursor.fetchall()
        names, values = prepared(Movement, self.a_hold(amount=1))
        places = ", ".join(["%s"] * len(values))
        sql = (
            f"INSERT OR REPLACE INTO wallets_movement (id, {', '.join(names)})"
            f" VALUES ({pk}, {places})"
        )
        with (
            self.assertRaises(DatabaseError),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(sql, values)

    @skipUnless(connection.vendor == "mysql", "REPLACE is MySQL's short cut")
    def test_refuses_to_replace_a_row_by_its_unique_key(self):
        names, values = prepared(Movement, self.a_hold(attempt_number=1, sequence=1))
        places = ", ".join(["%s"] * len(values))
        for tail in ("REPLACE INTO", "INSERT INTO"):
            sql = f"{tail} wallets_movement ({', '.join(names)}) VALUES ({places})" + (
                " ON DUPLICATE KEY UPDATE amount = 1" if tail[0] == "I" else ""
            )
            with (
                self.subTest(tail),
                self.assertRaises(DatabaseError) as got,
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(sql, values)
            self.assertIn("is append-only", str(got.exception))


@skipIf(connection.vendor == "sqlite", "it cannot drop a constraint")
class CaseOfAnotherRuleTest(CommittingTestCase):
    """A constraint that another one implies is still enforced by itself."""

    def tearDown(self) -> None:
        execute("DROP TABLE IF EXISTS scratch")
        super().tearDown()

    def test_refuses_a_movement_from_an_account_to_itself(self):
        like = (
            "(LIKE wallets_movement INCLUDING CONSTRAINTS)"
            if connection.vendor == "postgresql"
            else "LIKE wallets_movement"
        )
        execute(f"CREATE TABLE scratch {like}")
        execute("ALTER TABLE scratch DROP CONSTRAINT movement_accounts_match_kind")
        columns = (
            "id, wallet_id, transaction_id, attempt_number, kind, leg, from_account,"
            " to_account, amount, sequence, balance_after, created_at"
        )
        values = "1, 1, {}, 1, 'hold', 'open', 'wallet', '{}', 1, 1, 1, '2026-01-01'"
        execute(f"INSERT INTO scratch ({columns}) VALUES ({values.format(1, 'x')})")
        with self.assertRaises(DatabaseError) as got:
            execute(
                f"INSERT INTO scratch ({columns}) VALUES ({values.format(2, 'wallet')})"
            )
        self.assertIn("movement_between_two_accounts", str(got.exception))


class ProtectTest(CommittingTestCase):
    """Rows that the history refers to cannot be deleted, not even by SQL."""

    def test_refuses_to_delete_what_other_rows_refer_to(self):
        deposit = self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        for table, pk in (
            ("wallets_wallet", self.alice.pk),
            ("wallets_transaction", deposit.pk),
            ("wallets_transaction", withdrawal.pk),
        ):
            with self.subTest(table, pk=pk), self.assertRaises(IntegrityError):
                # A deferred foreign key is checked at COMMIT.
                execute(f"DELETE FROM {table} WHERE id = {pk}")
        self.assertTrue(Wallet.objects.filter(pk=self.alice.pk).exists())
        self.assertEqual(self.alice.transactions.count(), 2)

    def test_refuses_a_row_that_refers_to_nothing(self):
        withdrawal = self.due_withdrawal(400)
        with self.assertRaises(IntegrityError):
            execute(
                "UPDATE wallets_transaction SET wallet_id = 999999999"
                f" WHERE id = {withdrawal.pk}"
            )


class MovementInItsTransactionsWalletTest(CommittingTestCase):
    """A movement of a wallet never belongs to a transaction of another wallet."""

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Check the refusal by this rule at COMMIT; SQLite names only "FOREIGN KEY"."""
        with self.assertRaises(IntegrityError) as got:
            yield
        sqlite = connection.vendor == "sqlite"
        rule = "FOREIGN KEY" if sqlite else "movement_in_its_transactions_wallet"
        self.assertIn(rule, str(got.exception))

    def test_refuses_a_movement_in_another_wallet(self):
        withdrawal = self.due_withdrawal(400)
        for wallet in (self.bob.pk, 10**9):
            with self.subTest(wallet=wallet), self.refused():
                insert(Movement, a_hold(wallet, withdrawal.pk, self.now))
        self.assertEqual(Movement.objects.count(), 0)

    def test_refuses_to_move_a_transaction_with_movements_to_another_wallet(self):
        deposit = self.deposit(1000)
        with self.refused():
            update(Transaction, deposit.pk, {"wallet": self.bob.pk})
        deposit.refresh_from_db()
        self.assertEqual(deposit.wallet_id, self.alice.pk)


@skipUnless(connection.vendor == "mysql", "MySQL and MariaDB only")
class StrictModeTest(ConstraintTestCase):
    """Without strict mode these engines silently shorten, round and clip values."""

    def test_refuses_what_it_would_have_to_change(self):
        for model, columns in (
            (Wallet, {"balance": -1}),
            (Transaction, {"status": "P" * 11}),
            (Transaction, {"failure_code": "x" * 25}),
        ):
            row = self.valid(model) | columns
            with (
                self.subTest(**columns),
                self.assertRaises(DatabaseError),
                transaction.atomic(),
            ):
                insert(model, row)

    def test_refuses_text_where_a_number_belongs(self):
        with self.assertRaises(DatabaseError), transaction.atomic():
            execute("UPDATE wallets_wallet SET balance = '12 coins'")

    def test_keeps_its_session_settings(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@sql_mode, @@time_zone, @@innodb_lock_wait_timeout")
            mode, zone, wait = cursor.fetchone()
            cursor.execute("SELECT @@wait_timeout")
            (abandoned,) = cursor.fetchone()
        self.assertIn("STRICT_ALL_TABLES", mode)
        self.assertEqual((zone, wait, abandoned), ("+00:00", 5, 300))

    def test_limits_statements_and_idle_transactions(self):
        if not connection.mysql_is_mariadb:
            self.skipTest("only MariaDB has limits for them")
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@max_statement_time, @@idle_transaction_timeout")
            self.assertEqual(cursor.fetchone(), (10.0, 30))


@skipUnless(connection.vendor == "sqlite", "SQLite only")
class SQLiteSettingsTest(TestCase):
    def test_is_durable_and_checks_foreign_keys(self):
        found = {}
        with connection.cursor() as cursor:
            for name in ("journal_mode", "synchronous", "foreign_keys"):
                cursor.execute(f"PRAGMA {name}")
                (found[name],) = cursor.fetchone()
        # The value 2 of "synchronous" is FULL.
        self.assertEqual(
            found, {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        )


class MicrosecondTest(WalletTestCase):
    def test_keeps_a_moment_to_the_microsecond(self):
        when = self.now + timedelta(seconds=60, microseconds=1)
        withdrawal = WithdrawalService.schedule(self.alice.uuid, 1, when)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.scheduled_for, when)
