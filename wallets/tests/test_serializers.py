"""The fast functions that read and write do exactly what the serializers declare."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from django.test import SimpleTestCase
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from wallets.models.base import MAX_MONEY
from wallets.models.counterparty import Counterparty
from wallets.models.ledger import Account, Movement
from wallets.models.rows import MovementRow, TransactionRow
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.wallet import Wallet
from wallets.serializers.deposit import (
    DepositItemSerializer,
    DepositRequestSerializer,
    DepositResultSerializer,
    DepositSerializer,
    read_deposit,
    read_item,
    read_plain_items,
)
from wallets.serializers.problem import ProblemSerializer
from wallets.serializers.statement import (
    BalanceSerializer,
    MovementSerializer,
    StatementSerializer,
    movement_line,
)
from wallets.serializers.transaction import TransactionSerializer, transaction_line
from wallets.serializers.transfer import (
    TransferDoneSerializer,
    TransferItemSerializer,
    TransferRequestSerializer,
    TransferResultSerializer,
    TransferSerializer,
    read_transfer,
    read_transfer_item,
    transfer_line,
)
from wallets.serializers.wallet import (
    CloseRequestSerializer,
    FreezeRequestSerializer,
    WalletChangeRequestSerializer,
    WalletRequestSerializer,
    WalletSerializer,
    read_close,
    read_freeze,
    read_wallet,
    read_wallet_change,
    wallet_line,
)
from wallets.serializers.withdraw import (
    RescheduleRequestSerializer,
    WithdrawRequestSerializer,
    read_reschedule,
    read_withdrawal,
    scheduled_line,
)
from wallets.services.deposits.deposit import DepositReceipt, DepositRequest
from wallets.services.transfers.transfer import TransferReceipt, TransferRequest
from wallets.tests import marks
from wallets.tests.api import Api
from wallets.tests.base import WalletTestCase
from wallets.tests.conformance import as_published
from wallets.utils import strict_json, words
from wallets.utils.words import NO_WORDS, Words
from wallets.views.deposit import write_answer, write_answers
from wallets.views.problems.catalogue import PROBLEMS
from wallets.views.problems.problem_response import FieldError, body_of
from wallets.views.transfer import done_line, write_transfers

quickly = settings(max_examples=60, deadline=None)

UUIDS = st.uuids().map(str) | st.uuids().map(lambda one: str(one).upper())
INSTANTS = st.datetimes(
    datetime(2000, 1, 2), datetime(2999, 1, 1), timezones=st.just(timezone.utc)
)
TIMES = st.sampled_from(
    ["2030-02-17T12:00:00Z", "2030-02-17t12:00:00.5+03:30", "2030-02-17", "12:00", ""]
)
NUMBERS = st.integers(-2, 3) | st.just(MAX_MONEY + 1) | st.floats() | st.booleans()
VALUES = (
    NUMBERS
    | UUIDS
    | TIMES
    | st.none()
    | st.text(max_size=5)
    | st.lists(st.none(), max_size=1)
    | st.sampled_from(["EUR", "ABC", "wait", "fail", "out", "both"])
    | st.dictionaries(st.text(max_size=2), st.text(max_size=2) | st.none(), max_size=2)
)
NAMES = ["amount", "scheduled_for", "wallet", "idempotency_key", "from", "to"]
NAMES += ["reference", "currency", "metadata", "description", "if_frozen"]
NAMES += ["direction", "reason"]
BODIES = st.dictionaries(st.sampled_from([*NAMES, "amonut", "x" * 200]), VALUES)


def outcome(read: Any, body: Any) -> Any:
    try:
        return read(body)
    except ValidationError as error:
        return {
            name: [(str(detail), detail.code) for detail in details]
            for name, details in error.detail.items()
        }


def declared(serializer: Any, form: Any = dict) -> Any:
    def read(body: Any) -> Any:
        reading = serializer(data=body)
        reading.is_valid(raise_exception=True)
        return form(reading.validated_data)

    return read


def words_of(values: dict[str, Any]) -> Words:
    names = ("description", "reference", "metadata")
    return Words(*(values.get(name) or "" for name in names))


def as_deposit(values: dict[str, Any]) -> Any:
    return values["amount"], words_of(values)


def as_item(values: dict[str, Any]) -> Any:
    known = ("wallet", "amount", "idempotency_key")
    return *(values[name] for name in known), words_of(values)


def as_withdrawal(values: dict[str, Any]) -> Any:
    fails = values.get("if_frozen") == "fail"
    return values["amount"], values["scheduled_for"], fails, words_of(values)


def as_time(values: dict[str, Any]) -> Any:
    return values["scheduled_for"]


class ReadersTest(SimpleTestCase):
    """They accept, and refuse with the same text, what the serializers declare."""

    @marks.slow
    @quickly
    @given(body=BODIES)
    @example(body={"amount": 1, "scheduled_for": "2030-02-17T12:00:00Z"})
    def test_of_each_request_take_what_its_serializer_takes(self, body: Any) -> None:
        for read, serializer, form in (
            (read_deposit, DepositRequestSerializer, as_deposit),
            (read_withdrawal, WithdrawRequestSerializer, as_withdrawal),
            (read_reschedule, RescheduleRequestSerializer, as_time),
            (read_item, DepositItemSerializer, as_item),
            (read_transfer, TransferRequestSerializer, dict),
            (read_transfer_item, TransferItemSerializer, dict),
            (read_wallet, WalletRequestSerializer, dict),
            (read_wallet_change, WalletChangeRequestSerializer, dict),
            (read_freeze, FreezeRequestSerializer, dict),
            (read_close, CloseRequestSerializer, dict),
        ):
            found = outcome(declared(serializer, form), body)
            self.assertEqual(outcome(read, body), found, body)

    @quickly
    @given(
        items=st.lists(
            st.fixed_dictionaries(
                {
                    "wallet": UUIDS,
                    "amount": st.integers(1, 3) | NUMBERS,
                    "idempotency_key": UUIDS,
                }
            )
            | BODIES,
            max_size=3,
        )
    )
    def test_of_many_plain_items_take_what_each_serializer_takes(
        self, items: list[Any]
    ) -> None:
        plain = read_plain_items(json.dumps(items).encode())
        if plain is not None:
            read = [
                outcome(declared(DepositItemSerializer, as_item), item)
                for item in items
            ]
            self.assertEqual([(*one, NO_WORDS) for one in plain], read)

    def test_refuse_what_is_no_object(self) -> None:
        for body in ([], "{}", None):
            self.assertFalse(DepositRequestSerializer(data=body).is_valid())

    def test_are_documented_field_by_field(self) -> None:
        schemas = as_published()["components"]["schemas"]
        for serializer in (
            DepositRequestSerializer,
            DepositItemSerializer,
            WithdrawRequestSerializer,
            WalletRequestSerializer,
            WalletChangeRequestSerializer,
            FreezeRequestSerializer,
            CloseRequestSerializer,
        ):
            schema = schemas[serializer.__name__.removesuffix("Serializer")]
            self.assertEqual(list(schema["properties"]), list(serializer().fields))
            required = schema.get("required", [])
            self.assertEqual(sorted(serializer.readers()), required)


METADATA = st.dictionaries(st.text("abé😀", min_size=1), st.text("abé😀"), max_size=3)
STORED_METADATA = METADATA.map(words.metadata)
WALLETS = st.builds(
    Wallet,
    id=st.integers(1, 2**63 - 1),
    uuid=st.uuids(),
    balance=st.integers(0, MAX_MONEY),
    held=st.integers(0, MAX_MONEY),
    created_at=INSTANTS,
    reference=st.none() | st.text(min_size=1, max_size=5),
    currency=st.sampled_from(["EUR", "IRR"]),
    metadata=STORED_METADATA,
    frozen_in=st.booleans(),
    frozen_out=st.booleans(),
    closed=st.booleans(),
)
BANK_WORDS = st.sampled_from(
    ["", "Insufficient balance", "<html>", '{"data": "success", "status": 200}']
)
TRANSACTIONS = st.builds(
    Transaction,
    id=st.integers(1, 2**63 - 1),
    wallet=WALLETS,
    transaction_type=st.sampled_from(Transaction.TransactionType.values),
    amount=st.integers(1, MAX_MONEY),
    status=st.sampled_from(Transaction.Status.values),
    scheduled_for=st.none() | INSTANTS,
    first_scheduled_for=st.none() | INSTANTS,
    executed_at=st.none() | INSTANTS,
    created_at=INSTANTS,
    retry_count=st.integers(0, 3),
    next_attempt_at=st.none() | INSTANTS,
    failure_code=st.sampled_from(Transaction.FailureCode.values),
    needs_review=st.booleans(),
    final=st.booleans(),
    third_party_response=BANK_WORDS,
    idempotency_key=st.uuids(),
    description=st.text("abé", max_size=3),
    reference=st.text("abé", max_size=3),
    metadata=STORED_METADATA,
    fails_if_frozen=st.booleans(),
)
COUNTERPARTIES = st.none() | st.builds(
    Counterparty, st.uuids(), st.uuids(), st.none() | st.text(min_size=1)
)
MOVEMENTS = st.builds(
    Movement,
    sequence=st.integers(1, 2**63 - 1),
    created_at=INSTANTS,
    kind=st.sampled_from(Movement.Kind.values),
    from_account=st.sampled_from(Account.values),
    to_account=st.sampled_from(Account.values),
    transaction_id=st.integers(1, 2**63 - 1),
    attempt_number=st.integers(0, 4),
    amount=st.integers(1, MAX_MONEY),
    balance_after=st.integers(0, MAX_MONEY),
)
TRANSFERS = st.builds(
    Transfer,
    from_wallet=WALLETS,
    to_wallet=WALLETS,
    debit=TRANSACTIONS,
    credit=TRANSACTIONS,
    amount=st.integers(1, MAX_MONEY),
    created_at=INSTANTS,
)
RECEIPTS = st.builds(
    DepositReceipt,
    st.builds(
        DepositRequest,
        st.uuids(),
        st.integers(1, MAX_MONEY),
        st.uuids(),
        st.just(NO_WORDS)
        | st.builds(Words, st.text("aé"), st.text("aé"), STORED_METADATA),
    ),
    made_at=INSTANTS,
    transaction_id=st.integers(1, 2**63 - 1),
    wallet_id=st.integers(1, 2**63 - 1),
    balance_after=st.integers(0, MAX_MONEY),
    replayed=st.booleans(),
)


def as_row(kind: type[Any], instance: Any) -> Any:
    """Return the instance as a read returns it."""
    row = kind._make(getattr(instance, name) for name in kind._fields)
    for related in ("counterparty", "corrected", "returned"):
        setattr(row, related, getattr(instance, related))
    return row


class WritersTest(SimpleTestCase):
    """They write what the serializers declare, byte for byte, in the same order."""

    def assert_same(self, written: Any, serializer: Any) -> None:
        self.assertEqual(strict_json.dumps(written), strict_json.dumps(serializer.data))

    @marks.slow
    @quickly
    @given(wallet=WALLETS)
    def test_write_a_wallet_as_declared(self, wallet: Wallet) -> None:
        self.assert_same(wallet_line(wallet), WalletSerializer(wallet))

    @marks.slow
    @quickly
    @given(transaction=TRANSACTIONS, other=COUNTERPARTIES)
    def test_write_a_transaction_as_declared(
        self, transaction: Transaction, other: Counterparty | None
    ) -> None:
        transaction.counterparty = other
        transaction.corrected = 5 if other is None else None
        transaction.returned = 6 if other is None else None
        for one in (transaction, as_row(TransactionRow, transaction)):
            self.assert_same(
                transaction_line(one, transaction.wallet.uuid),
                TransactionSerializer(transaction),
            )

    @marks.slow
    @quickly
    @given(withdrawal=TRANSACTIONS)
    def test_write_a_withdrawal_as_it_was_scheduled(
        self, withdrawal: Transaction
    ) -> None:
        withdrawal.transaction_type = Transaction.TransactionType.WITHDRAWAL
        kept = ("id", "wallet", "transaction_type", "amount", "created_at")
        kept += ("idempotency_key", "fails_if_frozen", *Words._fields)
        new = Transaction(**{name: getattr(withdrawal, name) for name in kept})
        new.scheduled_for = withdrawal.first_scheduled_for or withdrawal.scheduled_for
        wallet = withdrawal.wallet.uuid
        self.assert_same(scheduled_line(withdrawal, wallet), TransactionSerializer(new))

    @marks.slow
    @quickly
    @given(receipt=RECEIPTS)
    def test_write_a_deposit_as_declared(self, receipt: DepositReceipt) -> None:
        deposit = receipt.transaction
        deposit.wallet = Wallet(uuid=receipt.request.wallet_uuid)
        shown = {**receipt._asdict(), "transaction": deposit}
        self.assertEqual(
            write_answer(receipt).encode(),
            strict_json.dumps(DepositSerializer(shown).data),
        )
        result = "replayed" if receipt.replayed else "done"
        shown = {"result": result, "wallet": receipt, "transaction": deposit}
        declared = strict_json.dumps([DepositResultSerializer(shown).data])
        self.assertEqual(write_answers([receipt]), declared)

    @marks.slow
    @quickly
    @given(made=TRANSFERS, replayed=st.booleans(), balance=st.integers(0, MAX_MONEY))
    def test_write_a_transfer_as_declared(
        self, made: Transfer, replayed: bool, balance: int
    ) -> None:
        ends = made.from_wallet.uuid, made.to_wallet.uuid
        key = made.debit.idempotency_key
        half = made.debit
        words = Words(half.description, half.reference, half.metadata)
        line = transfer_line(made, *ends, key, words)
        self.assert_same(line, TransferSerializer(made))
        request = TransferRequest(*ends, made.amount, key, words)
        receipt = TransferReceipt(request, made, balance, replayed)
        shown = receipt._asdict()
        self.assert_same(done_line(receipt), TransferDoneSerializer(shown))
        shown = {
            "result": "replayed" if replayed else "done",
            "wallet": receipt,
            "transfer": made,
        }
        self.assertEqual(
            write_transfers([receipt]),
            strict_json.dumps([TransferResultSerializer(shown).data]),
        )

    def test_write_a_refused_item_as_declared(self) -> None:
        error = Wallet.DoesNotExist()
        problem = body_of("wallet_not_found")
        shown = {"result": "refused", "problem": problem}
        self.assertEqual(
            write_answers([error]),
            strict_json.dumps([DepositResultSerializer(shown).data]),
        )

    @quickly
    @given(
        code=st.sampled_from(list(PROBLEMS)),
        detail=st.text(max_size=20),
        errors=st.lists(
            st.builds(
                FieldError, st.text(), st.sampled_from(list(PROBLEMS)), st.text()
            ),
            max_size=2,
        ),
    )
    def test_write_a_problem_as_declared(
        self, code: str, detail: str, errors: list[FieldError]
    ) -> None:
        body = body_of(code, detail, errors)
        self.assertEqual(body, ProblemSerializer(body).data)

    @quickly
    @given(movement=MOVEMENTS, other=COUNTERPARTIES)
    def test_write_a_movement_as_declared(
        self, movement: Movement, other: Counterparty | None
    ) -> None:
        movement.counterparty = other
        movement.corrected = 5 if other is None else None
        movement.returned = 6 if other is None else None
        for one in (movement, as_row(MovementRow, movement)):
            self.assert_same(movement_line(one), MovementSerializer(movement))


class PagesTest(Api, WalletTestCase):
    def test_of_a_statement_are_as_declared(self) -> None:
        self.deposit(30)
        end = datetime(2999, 1, 1, tzinfo=timezone.utc)
        answer = self.get(self.path("statement", f"?to={end:%Y-%m-%dT%H:%M:%SZ}"))
        movements = list(self.alice.movements.order_by("sequence"))
        statement = {
            "wallet": self.alice.uuid,
            "from": None,
            "to": end,
            "opening_balance": 0,
            "closing_balance": 30,
            "movements": movements,
        }
        declared = StatementSerializer(statement).data
        self.assertEqual(answer.content, strict_json.dumps(declared))

    def test_of_a_balance_are_as_declared(self) -> None:
        self.deposit(30)
        at = datetime.now(timezone.utc) + timedelta(days=1)
        answer = self.get(self.path("balance", f"?at={at:%Y-%m-%dT%H:%M:%SZ}"))
        at = at.replace(microsecond=0)
        shown = {"wallet": self.alice.uuid, "at": at, "balance": 30, "sequence": 1}
        self.assertEqual(
            answer.content, strict_json.dumps(BalanceSerializer(shown).data)
        )
