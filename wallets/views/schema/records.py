"""The operations that show what has happened: transactions, statement, past balance."""

from __future__ import annotations

from wallets.serializers.statement import BalanceSerializer, StatementSerializer
from wallets.serializers.transaction import TransactionSerializer
from wallets.views.schema.operation import (
    CURSOR,
    LIMIT,
    QUERY,
    TRANSACTION,
    WALLET,
    Operation,
    choice,
    instant,
)
from wallets.views.statement import BalanceView, StatementView
from wallets.views.transaction import TransactionListView, TransactionView

OPERATIONS: dict[type, dict[str, Operation]] = {
    TransactionListView: {
        "GET": Operation(
            id="list_transactions",
            tag="Transactions",
            summary="A wallet's transactions",
            description=(
                "A bare array, newest first. The next page is in the `Link` header; what "
                "is written meanwhile is neither skipped nor repeated."
            ),
            answer=TransactionSerializer(many=True),
            codes=(*WALLET, *QUERY, "cursor_invalid"),
            query=(
                choice("status", "TransactionStatus", "Only these."),
                choice("type", "TransactionType", "Only these."),
                instant("created_from", "Requested at this moment or later."),
                instant("created_to", "Requested before this moment."),
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
            summary="A deposit or a withdrawal",
            description="It exists only below its own wallet.",
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
                "Every movement from `from` on and before `to`, oldest first; without "
                "them, all there are. So the closing balance of one period is the opening "
                "balance of the next, and opening balance and changes make the closing "
                "balance. All pages are of the statement that the first one began: what "
                "is written meanwhile is in none of them.\n\n"
                "As `text/csv` it comes whole, without pages, `limit` and `cursor`. Its "
                "first line is the opening balance and its last line the closing balance; "
                "a file without that line broke off. A long one has to be read within a minute, and few are "
                "written at a time: `service_unavailable` then says when to come again."
            ),
            answer=StatementSerializer,
            codes=(*WALLET, *QUERY, "cursor_invalid"),
            query=(
                instant("from", "The first moment; not after `to`."),
                instant("to", "The moment that it ends before."),
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
                "After all that happened up to the moment, from the ledger. Before the "
                "wallet was opened it is 0; for a moment to come, what is known now."
            ),
            answer=BalanceSerializer,
            codes=(*WALLET, *QUERY),
            query=(instant("at", "The moment; now, unless it is sent."),),
        )
    },
}
