"""The operations that move money."""

from __future__ import annotations

from wallets.serializers.deposit import (
    DepositItemSerializer,
    DepositRequestSerializer,
    DepositResultSerializer,
    DepositSerializer,
)
from wallets.serializers.problem import (
    CancelProblemSerializer,
    RescheduleProblemSerializer,
)
from wallets.serializers.transaction import TransactionSerializer
from wallets.serializers.withdraw import (
    RescheduleRequestSerializer,
    WithdrawRequestSerializer,
)
from wallets.views.deposit import DepositListView, DepositView
from wallets.views.schema.operation import (
    BODY,
    MANY,
    MONEY,
    SELF,
    STORED,
    TRANSACTION,
    WALLET,
    WORDS,
    Operation,
)
from wallets.views.transaction import CancelView, RescheduleView
from wallets.views.withdraw import WithdrawView

TIME = (
    "scheduled_for_invalid",
    "scheduled_for_in_the_past",
    "scheduled_for_too_far",
)
OPERATIONS: dict[type, dict[str, Operation]] = {
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
                "At most 1,000 deposits, each with its own key. The answer has a result "
                "for each, in order: `done`, `replayed` (an earlier request with its key "
                "made it) or `refused`, with the problem. A refused deposit does not stop "
                "the others. After a lost answer, send the whole request again.\n\n"
                "The statement of each wallet has them in the order of the array, if no "
                "key is in it twice and no other request uses one meanwhile. Their ids "
                "need not ascend in this order, and lists may show them in another one."
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
                *MANY,
                *WORDS,
                "wallet_frozen",
                "wallet_closed",
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
                "not now. If the wallet is frozen then, the withdrawal waits for the end "
                "of the freeze, or fails: `if_frozen`. The path with a trailing slash "
                "does the same."
            ),
            status=201,
            answer=TransactionSerializer,
            codes=(
                *WALLET,
                *MONEY,
                "if_frozen_invalid",
                *TIME,
                "currency_not_payable",
            ),
            request=WithdrawRequestSerializer,
            has_key=True,
            headers={"Location": True, "Idempotent-Replayed": False},
            links={
                name: {
                    "wallet_uuid": SELF,
                    "transaction_id": "$response.body#/id",
                }
                for name in ("get_transaction", "cancel", "reschedule")
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
    RescheduleView: {
        "POST": Operation(
            id="reschedule",
            tag="Money",
            summary="Reschedule a withdrawal",
            description=(
                "Gives a PENDING withdrawal another time, sooner or later. From the first "
                "attempt at the bank on it is too late. Safe to repeat, without a key: the "
                "time that it has already changes nothing, also when it was paid since. "
                "A repeated `withdraw` is the one with the first time, and gets its "
                "first answer. The path with a trailing slash does the same."
            ),
            answer=TransactionSerializer,
            codes=(
                *TRANSACTION,
                *BODY,
                "body_required",
                "required",
                *TIME,
                "not_reschedulable",
                "request_in_progress",
            ),
            request=RescheduleRequestSerializer,
            problems={409: RescheduleProblemSerializer},
        )
    },
}
