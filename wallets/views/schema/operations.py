"""Every endpoint: what it is for, what it takes, what it answers. In the order of a client.

A new endpoint gets its entry here, or the document cannot be made.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wallets.models.transaction import Transaction
from wallets.views.deposit import DepositView
from wallets.views.health import AliveView, ReadyView
from wallets.views.parameters import MAX_LIMIT
from wallets.views.schema.components import (
    INSTANT,
    READINESS,
    Schema,
    one_of,
    said,
)
from wallets.views.statement import BalanceView, StatementView
from wallets.views.transaction import CancelView, TransactionListView, TransactionView
from wallets.views.wallet import WalletListView, WalletView
from wallets.views.withdraw import WithdrawView


@dataclass(frozen=True)
class Operation:
    """One method of one endpoint. `codes` are the problems it can answer with."""

    id: str
    tag: str
    summary: str
    description: str
    answer: Schema
    codes: tuple[str, ...]
    status: int = 200
    request: str = ""
    takes_body: bool = False
    has_key: bool = False
    query: dict[str, Schema] = field(default_factory=dict)
    # Of a successful answer: name → whether it is always there.
    headers: dict[str, bool] = field(default_factory=dict)
    # Where to go from here: operation → its path parameters.
    links: dict[str, dict[str, str]] = field(default_factory=dict)
    csv: bool = False
    # Members that a problem may have besides the usual ones, by HTTP status.
    extra: dict[int, dict[str, Schema]] = field(default_factory=dict)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_ANY = (
    "bad_request",
    "invalid_request",
    "parameter_unknown",
    "method_not_allowed",
    "not_acceptable",
    "internal_error",
)
_STORED = (*_ANY, "service_unavailable")
_WALLET = (*_STORED, "not_found", "wallet_not_found")
_TRANSACTION = (*_STORED, "not_found", "transaction_not_found")
_QUERY = ("parameter_repeated", "parameter_invalid")
_BODY = (
    "body_incomplete",
    "json_invalid",
    "unknown_field",
    "length_required",
    "content_too_large",
    "unsupported_media_type",
)
_MONEY = (
    *_BODY,
    "body_required",
    "required",
    "amount_invalid",
    "amount_too_large",
    "idempotency_key_invalid",
    "idempotency_key_reused",
    "request_in_progress",
)

_LIMIT = said(
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50},
    "How many on one page.",
)
_CURSOR = said(
    {"type": "string"}, "Where a page begins. Follow the URLs of `Link` as they are."
)
_SELF = "$request.path.wallet_uuid"

OPERATIONS: dict[type, dict[str, Operation]] = {
    WalletListView: {
        "POST": Operation(
            id="create_wallet",
            tag="Wallets",
            summary="Open a wallet",
            description=(
                "Opens an empty wallet. It takes no body; `{}` is allowed. An "
                "`Idempotency-Key` means nothing here."
            ),
            status=201,
            answer=_ref("Wallet"),
            codes=(*_STORED, *_BODY, "request_in_progress"),
            takes_body=True,
            headers={"Location": True},
            links={
                name: {"wallet_uuid": "$response.body#/uuid"}
                for name in (
                    "get_wallet",
                    "deposit",
                    "withdraw",
                    "list_transactions",
                    "get_statement",
                    "get_balance",
                )
            },
        )
    },
    WalletView: {
        "GET": Operation(
            id="get_wallet",
            tag="Wallets",
            summary="A wallet and its balance",
            description="The balance is what may be spent now; held money is not in it.",
            answer=_ref("Wallet"),
            codes=_WALLET,
        )
    },
    DepositView: {
        "POST": Operation(
            id="deposit",
            tag="Money",
            summary="Deposit at once",
            description=(
                "Adds money to the wallet; the answer has the balance after it. Also at "
                "the path with a trailing slash."
            ),
            answer=_ref("Deposit"),
            codes=(*_WALLET, *_MONEY, "balance_limit"),
            request="DepositRequest",
            takes_body=True,
            has_key=True,
            headers={"Idempotent-Replayed": False},
            links={
                "get_transaction": {
                    "wallet_uuid": _SELF,
                    "transaction_id": "$response.body#/transaction/id",
                }
            },
        )
    },
    WithdrawView: {
        "POST": Operation(
            id="withdraw",
            tag="Money",
            summary="Schedule a withdrawal",
            description=(
                "Pays the amount out at `scheduled_for`, once. The balance is judged "
                "then, not now. Also at the path with a trailing slash."
            ),
            status=201,
            answer=_ref("Transaction"),
            codes=(
                *_WALLET,
                *_MONEY,
                "scheduled_for_invalid",
                "scheduled_for_in_the_past",
                "scheduled_for_too_far",
            ),
            request="WithdrawRequest",
            takes_body=True,
            has_key=True,
            headers={"Location": True, "Idempotent-Replayed": False},
            links={
                name: {
                    "wallet_uuid": _SELF,
                    "transaction_id": "$response.body#/id",
                }
                for name in ("get_transaction", "cancel")
            },
        )
    },
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
                "items": _ref("Transaction"),
                "maxItems": MAX_LIMIT,
            },
            codes=(*_WALLET, *_QUERY, "cursor_invalid"),
            query={
                "status": said(one_of(list(Transaction.Status.values)), "Only these."),
                "type": said(
                    one_of(list(Transaction.TransactionType.values)), "Only these."
                ),
                "created_from": said(INSTANT, "Requested at this moment or later."),
                "created_to": said(INSTANT, "Requested before this moment."),
                "limit": _LIMIT,
                "cursor": _CURSOR,
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
            answer=_ref("Transaction"),
            codes=_TRANSACTION,
        )
    },
    CancelView: {
        "POST": Operation(
            id="cancel",
            tag="Money",
            summary="Take a withdrawal back",
            description=(
                "Works while it is PENDING, and again once it is CANCELLED: safe to "
                "repeat. It takes no body; `{}` is allowed. Also at the path with a "
                "trailing slash."
            ),
            answer=_ref("Transaction"),
            codes=(*_TRANSACTION, *_BODY, "not_cancelable", "request_in_progress"),
            takes_body=True,
            extra={
                409: {
                    "transaction_status": said(
                        one_of(list(Transaction.Status.values)), "Where it stands."
                    )
                }
            },
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
                "that line broke off."
            ),
            answer=_ref("Statement"),
            codes=(*_WALLET, *_QUERY, "cursor_invalid"),
            query={
                "from": said(INSTANT, "The first moment; not after `to`."),
                "to": said(INSTANT, "The moment that it ends before."),
                "limit": _LIMIT
                | {"description": "How many on one page. Not with CSV."},
                "cursor": _CURSOR,
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
            answer=_ref("Balance"),
            codes=(*_WALLET, *_QUERY),
            query={"at": said(INSTANT, "The moment; now, unless it is sent.")},
        )
    },
    AliveView: {
        "GET": Operation(
            id="alive",
            tag="Health",
            summary="The process answers",
            description="Touches nothing else.",
            answer=_ref("Alive"),
            codes=_ANY,
        )
    },
    ReadyView: {
        "GET": Operation(
            id="ready",
            tag="Health",
            summary="Requests can be served",
            description=(
                "503 without the database or with migrations missing. Without the broker "
                "or with a sweep silent it is 200 and `degraded`: payments are late."
            ),
            answer=_ref("Ready"),
            codes=_STORED,
            extra={503: READINESS},
        )
    },
}
