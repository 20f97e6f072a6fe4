"""The operations on wallets: create, list, show, change, freeze, close."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter

from wallets.models.base import MAX_MONEY
from wallets.serializers.wallet import (
    CloseRequestSerializer,
    FreezeRequestSerializer,
    WalletChangeRequestSerializer,
    WalletRequestSerializer,
    WalletSerializer,
)
from wallets.utils.words import MAX_REFERENCE
from wallets.views.schema.operation import (
    BODY,
    CURSOR,
    KEY,
    LIMIT,
    QUERY,
    STORED,
    WALLET,
    WINDOW,
    Operation,
    choice,
    instant,
    integer,
    text,
)
from wallets.views.wallet import WalletListView, WalletView
from wallets.views.wallet_life import CloseView, FreezeView, UnfreezeView

_LIFE = (
    *WALLET,
    *BODY,
    "body_required",
    "required",
    "reason_invalid",
    "request_in_progress",
)
_WORDS = ("reference_invalid", "metadata_invalid", "reference_taken")

OPERATIONS: dict[type, dict[str, Operation]] = {
    WalletListView: {
        "POST": Operation(
            id="create_wallet",
            tag="Wallets",
            summary="Create a wallet",
            description=(
                "Creates an empty wallet. The body may be left out. With an "
                "`Idempotency-Key` the same request creates one wallet, and the answer "
                "shows the wallet as it is now."
            ),
            status=201,
            request=WalletRequestSerializer,
            answer=WalletSerializer,
            codes=(
                *STORED,
                *BODY,
                *_WORDS,
                "currency_invalid",
                *KEY,
                "request_in_progress",
            ),
            has_key=True,
            headers={"Location": True, "Idempotent-Replayed": False},
            links={
                name: {"wallet_uuid": "$response.body#/uuid"}
                for name in (
                    "get_wallet",
                    "change_wallet",
                    "deposit",
                    "withdraw",
                    "list_transactions",
                    "get_statement",
                    "get_balance",
                )
            },
        ),
        "GET": Operation(
            id="list_wallets",
            tag="Wallets",
            summary="All wallets",
            description=f"An array, newest first. {WINDOW}",
            answer=WalletSerializer(many=True),
            codes=(*STORED, *QUERY, "cursor_invalid"),
            query=(
                text("reference", "Only with exactly this reference.", MAX_REFERENCE),
                OpenApiParameter(
                    "currency",
                    {"type": "string", "pattern": "^[A-Z]{3}$"},
                    description="Only with this currency (ISO 4217).",
                ),
                choice("state", "WalletState", "Only in this state."),
                integer("balance_from", "With this balance or more.", MAX_MONEY),
                integer("balance_to", "With this balance or less.", MAX_MONEY),
                instant("created_from", "Created at this time or later."),
                instant("created_to", "Created before this time."),
                LIMIT,
                CURSOR,
            ),
            headers={"Link": True},
        ),
    },
    WalletView: {
        "GET": Operation(
            id="get_wallet",
            tag="Wallets",
            summary="A wallet and its balance",
            description="The balance can be spent now; held money is not part of it.",
            answer=WalletSerializer,
            codes=WALLET,
        ),
        "PATCH": Operation(
            id="change_wallet",
            tag="Wallets",
            summary="Change reference and metadata",
            description=(
                "Changes what is sent. Safe to repeat: it needs no key. A closed wallet "
                "cannot be changed."
            ),
            answer=WalletSerializer,
            codes=(
                *WALLET,
                *BODY,
                "body_required",
                *_WORDS,
                "wallet_closed",
                "request_in_progress",
            ),
            request=WalletChangeRequestSerializer,
        ),
    },
    FreezeView: {
        "POST": Operation(
            id="freeze",
            tag="Wallets",
            summary="Freeze a wallet",
            description=(
                "`in` refuses deposits. `out` refuses new withdrawals, and what is due "
                "waits or fails as its request said (`if_frozen`). A payment that is on "
                "its way goes on, and its money returns if the bank does not pay. Safe "
                "to repeat. The path with a trailing slash does the same."
            ),
            answer=WalletSerializer,
            codes=(*_LIFE, "direction_invalid", "wallet_closed"),
            request=FreezeRequestSerializer,
        )
    },
    UnfreezeView: {
        "POST": Operation(
            id="unfreeze",
            tag="Wallets",
            summary="Unfreeze a wallet",
            description=(
                "Ends a freeze in this direction. Withdrawals that waited are paid soon. "
                "Safe to repeat. The path with a trailing slash does the same."
            ),
            answer=WalletSerializer,
            codes=(*_LIFE, "direction_invalid", "wallet_closed"),
            request=FreezeRequestSerializer,
        )
    },
    CloseView: {
        "POST": Operation(
            id="close",
            tag="Wallets",
            summary="Close a wallet for good",
            description=(
                "Only with balance 0, without held money, and without a withdrawal that "
                "has not ended. A closed wallet can be read, and nothing else. Safe to "
                "repeat. The path with a trailing slash does the same."
            ),
            answer=WalletSerializer,
            codes=(*_LIFE, "wallet_not_empty"),
            request=CloseRequestSerializer,
        )
    },
}
