"""The operations that show the past: transactions, statement, past balance."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from wallets.models.base import MAX_MONEY
from wallets.serializers.statement import BalanceSerializer, StatementSerializer
from wallets.serializers.transaction import TransactionSerializer
from wallets.utils.words import MAX_REFERENCE
from wallets.views.schema.operation import (
    CURSOR,
    LIMIT,
    QUERY,
    STORED,
    TRANSACTION,
    WALLET,
    WINDOW,
    Operation,
    choice,
    instant,
    integer,
    text,
)
from wallets.views.statement import BalanceView, StatementView
from wallets.views.transaction import TransactionListView, TransactionView
from wallets.views.transaction_list import AllTransactionsView

OPERATIONS: dict[type, dict[str, Operation]] = {
    TransactionListView: {
        "GET": Operation(
            id="list_transactions",
            tag="Transactions",
            summary="A wallet's transactions",
            description=(
                "An array, newest first. The next page is in the `Link` header; new rows "
                "are neither skipped nor repeated."
            ),
            answer=TransactionSerializer(many=True),
            codes=(*WALLET, *QUERY, "cursor_invalid"),
            query=(
                choice("status", "TransactionStatus", "Only with this status."),
                choice("type", "TransactionType", "Only of this type."),
                instant("created_from", "Requested at this time or later."),
                instant("created_to", "Requested before this time."),
                LIMIT,
                CURSOR,
            ),
            headers={"Link": True},
        )
    },
    AllTransactionsView: {
        "GET": Operation(
            id="list_all_transactions",
            tag="Transactions",
            summary="The transactions of all wallets",
            description=f"An array, newest first; each has its wallet. {WINDOW}",
            answer=TransactionSerializer(many=True),
            codes=(*STORED, *QUERY, "cursor_invalid"),
            query=(
                text("reference", "Only with exactly this reference.", MAX_REFERENCE),
                OpenApiParameter(
                    "bank_reference",
                    OpenApiTypes.UUID,
                    description="Only the withdrawal with an attempt that the bank "
                    "knows by this reference.",
                ),
                choice("status", "TransactionStatus", "Only with this status."),
                choice("type", "TransactionType", "Only of this type."),
                choice("failure_code", "FailureCode", "Only with this failure code."),
                integer("amount_from", "Of this amount or more.", MAX_MONEY),
                integer("amount_to", "Of this amount or less.", MAX_MONEY),
                instant("scheduled_from", "Due at this time or later."),
                instant("scheduled_to", "Due before this time."),
                instant("created_from", "Requested at this time or later."),
                instant("created_to", "Requested before this time."),
                LIMIT,
                CURSOR,
            ),
            headers={"Link": True},
        )
    },
    TransactionView: {
        "GET": Operation(
            id="get_transaction",
            tag="Transactions",
            summary="A transaction",
            description="It is found only under its own wallet.",
            answer=TransactionSerializer,
            codes=TRANSACTION,
        )
    },
    StatementView: {
        "GET": Operation(
            id="get_statement",
            tag="Statement",
            summary="Opening balance, movements, closing balance",
            description=(
                "Every movement from `from` (inclusive) to `to` (exclusive), oldest "
                "first; without them, all movements. The closing balance of one period is "
                "the opening balance of the next, and the opening balance and all changes "
                "add up to the closing balance. All pages belong to the statement that "
                "the first page began: later movements are in none of them.\n\n"
                "As `text/csv` the answer is the whole statement, without `limit` and "
                "`cursor`. Its first line is the opening balance and its last line the "
                "closing balance; a file without that last line is incomplete. A long one "
                "must be read within a minute, and few are written at a time: "
                "`service_unavailable` then says when to try again."
            ),
            answer=StatementSerializer,
            codes=(*WALLET, *QUERY, "cursor_invalid"),
            query=(
                instant("from", "The beginning, inclusive; not after `to`."),
                instant("to", "The end, exclusive."),
                LIMIT,
                CURSOR,
            ),
            headers={"Link": True},
            csv=True,
        )
    },
    BalanceView: {
        "GET": Operation(
            id="get_balance",
            tag="Statement",
            summary="The balance at a moment",
            description=(
                "The balance after all movements up to and including the moment, from the "
                "ledger. Before the wallet was created it is 0; for a future moment it is "
                "the present balance. Two answers with the same `sequence` are the same "
                "balance: while money moves, it says more exactly than a time what was "
                "counted."
            ),
            answer=BalanceSerializer,
            codes=(*WALLET, *QUERY),
            query=(instant("at", "The moment; default: now."),),
        )
    },
}
