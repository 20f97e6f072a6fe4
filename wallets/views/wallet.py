"""Wallets: create, list, show, change."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings

from wallets.models.wallet import Wallet
from wallets.serializers.wallet import read_wallet, read_wallet_change, wallet_line
from wallets.services.reads.current import wallets_by_uuid
from wallets.services.reads.listing import Page
from wallets.services.reads.wallet_list import WalletQuery, list_wallets
from wallets.services.wallet import WalletService
from wallets.services.wallets.create import CreateReceipt, CreateRequest, create_many
from wallets.utils import words
from wallets.utils.caller import Caller
from wallets.views.http import idempotency_key
from wallets.views.http.body import read_nothing, read_object
from wallets.views.http.operation import Operation, SingleOperation
from wallets.views.http.pagination import (
    PAGING,
    PageCall,
    Pages,
    numbers_of,
    position_of,
)
from wallets.views.http.query import check_order, instant, money, one_of, page_limit
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView


class CreateWallet(Operation[CreateRequest, CreateReceipt]):
    """Create an empty wallet."""

    capability = "wallets"
    method = "POST"
    max_body = settings.API_MAX_BODY_BYTES
    only_reads = False

    def read(self, request: Request, query: Mapping[str, Any]) -> CreateRequest:
        key = idempotency_key.key_of(request)
        return CreateRequest(**read_wallet(read_nothing(request)), key=key)

    def wallets_of(self, call: CreateRequest) -> Collection[UUID]:
        return ()

    def contends_for(self, call: CreateRequest) -> Collection[Hashable]:
        return {call.key, call.reference} - {None}

    def many(
        self, calls: Sequence[CreateRequest], *, caller: Caller, wait: bool
    ) -> Sequence[CreateReceipt | Exception]:
        return create_many(calls, caller=caller, wait=wait)

    def write(
        self, request: Request, call: CreateRequest, result: CreateReceipt
    ) -> ApiResponse:
        return json_response(
            wallet_line(result.wallet),
            status=201,
            headers={
                "Location": request.url_to("wallet", result.wallet.uuid),
                **idempotency_key.headers_of(call.key, replayed=result.replayed),
            },
        )


class ListWallets(Operation[PageCall[WalletQuery], Page[Wallet]]):
    """Show all wallets: a bare array, newest first."""

    capability = "wallets"
    max_batch = 8  # a page may read thousands of rows
    known_parameters = {
        "reference": words.reference,
        "currency": words.currency_code,
        "state": one_of(*Wallet.State.values),
        "balance_from": money,
        "balance_to": money,
        "created_from": instant,
        "created_to": instant,
        "limit": page_limit,
        "cursor": str,
    }

    def read(self, request: Request, query: Mapping[str, Any]) -> PageCall[WalletQuery]:
        check_order(query, "created_from", "created_to")
        check_order(query, "balance_from", "balance_to")
        shown = Pages(request, query)
        filters = {name: query[name] for name in query if name not in PAGING}
        after = position_of(shown.position(numbers=2))
        page = WalletQuery(after=after, count=shown.limit, **filters)
        return PageCall(page, shown)

    def wallets_of(self, call: PageCall[WalletQuery]) -> Collection[UUID]:
        return ()

    def many(
        self, calls: Sequence[PageCall[WalletQuery]], *, caller: Caller, wait: bool
    ) -> Sequence[Page[Wallet]]:
        return [list_wallets(call.page, tenant=caller.tenant) for call in calls]

    def write(
        self, request: Request, call: PageCall[WalletQuery], result: Page[Wallet]
    ) -> ApiResponse:
        return json_response(
            [wallet_line(row) for row in result.rows],
            headers=call.pages.links(numbers_of(result.following)),
        )


class GetWallet(Operation[UUID, Wallet]):
    """Show a wallet."""

    capability = "wallets"

    def read(self, request: Request, query: Mapping[str, Any]) -> UUID:
        return request.arguments["wallet_uuid"]

    def wallets_of(self, call: UUID) -> Collection[UUID]:
        return (call,)

    def many(
        self, calls: Sequence[UUID], *, caller: Caller, wait: bool
    ) -> Sequence[Wallet | Exception]:
        return wallets_by_uuid(calls)

    def write(self, request: Request, call: UUID, result: Wallet) -> ApiResponse:
        return json_response(wallet_line(result))


# A wallet, and what to change of it.
Change = tuple[UUID, Mapping[str, Any]]


class ChangeWallet(SingleOperation[Change, Wallet]):
    """Change reference and metadata. Safe to repeat, without a key."""

    capability = "wallets"
    method = "PATCH"

    def read(self, request: Request, query: Mapping[str, Any]) -> Change:
        changes = read_wallet_change(read_object(request))
        return request.arguments["wallet_uuid"], changes

    def wallets_of(self, call: Change) -> Collection[UUID]:
        return call[:1]

    def one(self, call: Change, caller: Caller) -> Wallet:
        return WalletService.change(*call, actor=caller.actor)

    def write(self, request: Request, call: Change, result: Wallet) -> ApiResponse:
        return json_response(wallet_line(result))


class WalletListView(OperationView):
    """POST and GET /wallets/."""

    operations = (CreateWallet(), ListWallets())


class WalletView(OperationView):
    """GET and PATCH /wallets/<uuid>/."""

    operations = (GetWallet(), ChangeWallet())
