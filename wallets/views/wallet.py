"""Wallets: create and show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings

from wallets.models.wallet import Wallet
from wallets.serializers.strict import read_no_fields
from wallets.serializers.wallet import wallet_line
from wallets.services.reads.current import wallets_by_uuid
from wallets.services.wallet import WalletService
from wallets.views.http.body import read_nothing
from wallets.views.http.operation import Operation
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView


class CreateWallet(Operation[None, Wallet]):
    """Create an empty wallet. An `Idempotency-Key` is ignored."""

    method = "POST"
    max_body = settings.API_MAX_BODY_BYTES
    only_reads = False

    def read(self, request: Request, query: Mapping[str, Any]) -> None:
        read_no_fields(read_nothing(request))

    def many(self, calls: Sequence[None], *, wait: bool) -> Sequence[Wallet]:
        return WalletService.create_many(len(calls))

    def write(self, request: Request, call: None, result: Wallet) -> ApiResponse:
        location = request.url_of_wallet(result.uuid)
        return json_response(
            wallet_line(result), status=201, headers={"Location": location}
        )


class GetWallet(Operation[UUID, Wallet]):
    """Show a wallet."""

    def read(self, request: Request, query: Mapping[str, Any]) -> UUID:
        return request.arguments["wallet_uuid"]

    def many(
        self, calls: Sequence[UUID], *, wait: bool
    ) -> Sequence[Wallet | Exception]:
        return wallets_by_uuid(calls)

    def write(self, request: Request, call: UUID, result: Wallet) -> ApiResponse:
        return json_response(wallet_line(result))


class WalletListView(OperationView):
    """POST /wallets/."""

    operation = CreateWallet()


class WalletView(OperationView):
    """GET /wallets/<uuid>/."""

    operation = GetWallet()
