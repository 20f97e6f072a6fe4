"""The operations that create wallets and move money."""

from __future__ import annotations

from wallets.serializers.deposit import (
    DepositItemSerializer,
    DepositRequestSerializer,
    DepositResultSerializer,
    DepositSerializer,
)
from wallets.serializers.problem import CancelProblemSerializer
from wallets.serializers.transaction import TransactionSerializer
from wallets.serializers.wallet import WalletSerializer
from wallets.serializers.withdraw import WithdrawRequestSerializer
from wallets.views.deposit import DepositListView, DepositView
from wallets.views.schema.operation import (
    AMOUNT,
    BODY,
    KEY,
    MONEY,
    SELF,
    STORED,
    TRANSACTION,
    WALLET,
    Operation,
)
from wallets.views.transaction import CancelView
from wallets.views.wallet import WalletListView, WalletView
from wallets.views.withdraw import WithdrawView

OPERATIONS: dict[type, dict[str, Operation]] = {
    WalletListView: {
        "POST": Operation(
            id="create_wallet",
            tag="Wallets",
            summary="Create a wallet",
            description=(
                "Creates an empty wallet. It takes no body; `{}` is allowed. An "
                "`Idempotency-Key` is ignored."
            ),
            status=201,
            answer=WalletSerializer,
            codes=(*STORED, *BODY, "request_in_progress"),
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
            description="The balance can be spent now; held money is not part of it.",
            answer=WalletSerializer,
            codes=WALLET,
        )
    },
    DepositView: {
        "POST": Operation(
            id="deposit",
            tag="Money",
            summary="Deposit at once",
            description=(
                "Adds money to the wallet; the answer has the balance after it. The path "
                "with a trailing slash does the same."
            ),
            answer=DepositSerializer,
            codes=(*WALLET, *MONEY, "balance_limit"),
            request=DepositRequestSerializer,
            has_key=True,
            headers={"Idempotent-Replayed": False},
            links={
                "get_transaction": {
                    "wallet_uuid": SELF,
                    "transaction_id": "$response.body#/transaction/id",
                }
            },
        )
    },
    DepositListView: {
        "POST": Operation(
            id="deposit_many",
            tag="Money",
            summary="Many deposits at once",
            description=(
                "At most 1,000 deposits, each with its own key, in one database "
                "transaction. The answer has a result for each, in order: `done`, "
                "`replayed` (an earlier request with its key made it) or `refused`, with "
                "the problem. A refused deposit does not stop the others. After a lost "
                "answer, send the whole request again."
            ),
            answer=DepositResultSerializer(many=True),
            codes=(
                *STORED,
                *(code for code in BODY if code != "unknown_field"),
                "body_required",
                "too_many_items",
                "request_in_progress",
            ),
            item_codes=(
                "item_invalid",
                "invalid_request",
                "unknown_field",
                *AMOUNT,
                "wallet_invalid",
                "wallet_not_found",
                *KEY,
                "balance_limit",
            ),
            request=DepositItemSerializer(many=True),
        )
    },
    WithdrawView: {
        "POST": Operation(
            id="withdraw",
            tag="Money",
            summary="Schedule a withdrawal",
            description=(
                "Pays the amount at `scheduled_for`, once. The balance is checked then, "
                "not now. The path with a trailing slash does the same."
            ),
            status=201,
            answer=TransactionSerializer,
            codes=(
                *WALLET,
                *MONEY,
                "scheduled_for_invalid",
                "scheduled_for_in_the_past",
                "scheduled_for_too_far",
            ),
            request=WithdrawRequestSerializer,
            has_key=True,
            headers={"Location": True, "Idempotent-Replayed": False},
            links={
                name: {
                    "wallet_uuid": SELF,
                    "transaction_id": "$response.body#/id",
                }
                for name in ("get_transaction", "cancel")
            },
        )
    },
    CancelView: {
        "POST": Operation(
            id="cancel",
            tag="Money",
            summary="Cancel a withdrawal",
            description=(
                "Possible while the withdrawal is PENDING, or FAILED with a retry to come "
                "(`cancelable` says so). No further attempt is made. Safe to repeat: a "
                "CANCELLED withdrawal is answered again. It takes no body; `{}` is "
                "allowed. The path with a trailing slash does the same."
            ),
            answer=TransactionSerializer,
            codes=(*TRANSACTION, *BODY, "not_cancelable", "request_in_progress"),
            problems={409: CancelProblemSerializer},
        )
    },
}
