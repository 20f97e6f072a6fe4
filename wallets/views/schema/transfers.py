"""The operations of transfers."""

from __future__ import annotations

from wallets.serializers.correction import (
    CorrectionDoneSerializer,
    CorrectionRequestSerializer,
)
from wallets.serializers.transfer import (
    TransferDoneSerializer,
    TransferItemSerializer,
    TransferRequestSerializer,
    TransferResultSerializer,
    TransferSerializer,
)
from wallets.views.correction import CorrectionListView
from wallets.views.schema.operation import (
    AMOUNT,
    BODY,
    KEY,
    MANY,
    MONEY,
    SELF,
    STORED,
    TRANSACTION,
    WORDS,
    Operation,
)
from wallets.views.transfer import TransferListView, TransferView

# In the order in which they are checked.
_REFUSED = (
    "same_wallet",
    "wallet_not_found",
    "currency_mismatch",
    "wallet_closed",
    "wallet_frozen",
    "insufficient_balance",
    "balance_limit",
)

OPERATIONS: dict[type, dict[str, Operation]] = {
    TransferListView: {
        "POST": Operation(
            id="transfer",
            tag="Money",
            summary="Move money between wallets",
            description=(
                "Takes the amount from one wallet and adds it to another one, at once and "
                "together. The answer has the balance of the wallet that paid, never that "
                "of the other one. Both wallets list the transfer, each with the other "
                "one as `counterparty`, and with the words of the request.\n\n"
                "An array is many transfers, at most 1,000, each with its own key, in one "
                "database transaction; an `Idempotency-Key` of the whole request is "
                "ignored. They are made in order, so money that one brings can be spent by "
                "the next. The answer is 200 with a result for each, in order: `done`, "
                "`replayed` (an earlier request with its key made it) or `refused`, with "
                "the problem. A refused transfer does not stop the others. After a lost "
                "answer, send the whole request again. The statement of each wallet has "
                "them in the order of the array; the ids of their transactions need not "
                "ascend in this order, and lists may show them in another one."
            ),
            status=201,
            answer=TransferDoneSerializer,
            codes=(
                *STORED,
                *MONEY,
                "wallet_invalid",
                "too_many_items",
                *WORDS,
                *_REFUSED,
            ),
            item_codes=(*MANY, *WORDS, *_REFUSED),
            request=TransferRequestSerializer,
            many=(TransferItemSerializer, TransferResultSerializer),
            has_key=True,
            headers={"Location": True, "Idempotent-Replayed": False},
            links={
                "get_transfer": {"transfer_uuid": "$response.body#/transfer/id"},
                "get_transaction": {
                    "wallet_uuid": "$response.body#/transfer/from",
                    "transaction_id": "$response.body#/transfer/from_transaction",
                },
            },
        )
    },
    TransferView: {
        "GET": Operation(
            id="get_transfer",
            tag="Money",
            summary="A transfer",
            description="It never changes.",
            answer=TransferSerializer,
            codes=(*STORED, "not_found", "transfer_not_found"),
        )
    },
    CorrectionListView: {
        "POST": Operation(
            id="correct",
            tag="Money",
            summary="Correct a deposit or a transfer",
            description=(
                "Takes back all or part of what a deposit or a transfer moved wrongly, by "
                "a new entry; nothing is edited. The correction of a transfer returns the "
                "money to the wallet that paid; either half may be named. All corrections "
                "of one transaction are together at most its amount.\n\n"
                "The path exists only if the operator has set `API_CORRECTIONS`; "
                "otherwise it answers 404 `not_found`."
            ),
            status=201,
            answer=CorrectionDoneSerializer,
            codes=(
                *TRANSACTION,
                *BODY,
                "body_required",
                *AMOUNT,
                "reason_invalid",
                *KEY,
                "not_correctable",
                "correction_too_large",
                "wallet_closed",
                "insufficient_balance",
                "balance_limit",
                "request_in_progress",
            ),
            request=CorrectionRequestSerializer,
            has_key=True,
            headers={"Location": True, "Idempotent-Replayed": False},
            links={
                "get_transaction": {
                    "wallet_uuid": SELF,
                    "transaction_id": "$response.body#/correction/transaction",
                }
            },
        )
    },
}
