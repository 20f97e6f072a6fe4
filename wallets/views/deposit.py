"""Deposits: money in, at once."""

from __future__ import annotations

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from wallets.serializers.deposit import DepositAnswerSerializer, DepositSerializer
from wallets.services.wallet import WalletService
from wallets.views import idempotent
from wallets.views.base import Endpoint
from wallets.views.parsers import read_object


class DepositView(Endpoint):
    """POST /wallets/<uuid>/deposit."""

    def post(self, request: Request, wallet_uuid: UUID) -> Response:
        key = idempotent.key_of(request)
        values = DepositSerializer.check(read_object(request._request))
        deposit = WalletService.deposit(wallet_uuid, values["amount"], key)
        return Response(
            DepositAnswerSerializer(deposit).data,
            headers=idempotent.headers_of(deposit, key),
        )
