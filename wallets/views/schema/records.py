"""The operations that show what has happened: transactions, statement, past balance."""

from __future__ import annotations

from wallets.models.transaction import Transaction
from wallets.views.parameters import MAX_LIMIT
from wallets.views.schema.components import INSTANT, one_of, said
from wallets.views.schema.operation import (
    CURSOR,
    LIMIT,
    QUERY,
    TRANSACTION,
    WALLET,
    Operation,
    ref,
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
            answer={
                "type": "array",
                "items": ref("Transaction"),
                "maxItems": MAX_LIMIT,
            },
            codes=(*WALLET, *QUERY, "cursor_invalid"),
            query={
                "status": said(one_of(list(Transaction.Status.values)), "Only these."),
                "type": said(
                    one_of(list(Transaction.TransactionType.values)), "Only these."
                ),
                "created_from": said(INSTANT, "Requested at this moment or later."),
                "created_to": said(INSTANT, "Requested before this moment."),
                "limit": LIMIT,
                "cursor": CURSOR,
            },
            headers={"Link": True},
        )
    },
    TransactionView: {
        "GET": Operation(
            id="get_transaction",
            tag="Transactions",
            summary="A deposit or a withdrawal",
            description="It exists only below its own wallet.",
            answer=ref("Transaction"),
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
                "As `text/csv` it comes whole, without pages. Its first line is the "
                "opening balance and its last line the closing balance; a file without "
                "that line broke off. A long one has to be read within a minute, and few are "
                "written at a time: `service_unavailable` then says when to come again."
            ),
            answer=ref("Statement"),
            codes=(*WALLET, *QUERY, "cursor_invalid"),
            query={
                "from": said(INSTANT, "The first moment; not after `to`."),
                "to": said(INSTANT, "The moment that it ends before."),
                "limit": LIMIT | {"description": "How many on one page. Not with CSV."},
                "cursor": CURSOR,
            },
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
            answer=ref("Balance"),
            codes=(*WALLET, *QUERY),
            query={"at": said(INSTANT, "The moment; now, unless it is sent.")},
        )
    },
}
