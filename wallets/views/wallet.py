"""Wallets: open one, look at one."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from wallets.models.wallet import Wallet
from wallets.serializers.strict import read_no_fields
from wallets.serializers.wallet import wallet_line
from wallets.services.wallet import WalletService
from wallets.views.base import Endpoint, json_answer
from wallets.views.parsers import read_nothing


class WalletListView(Endpoint):
    """POST /wallets/. An `Idempotency-Key` has no meaning here and is ignored."""

    def post(self, request: Request) -> HttpResponse:
        read_no_fields(read_nothing(request._request))
        wallet = WalletService.create()
        location = request.build_absolute_uri(reverse("wallet", args=[wallet.uuid]))
        return json_answer(
            wallet_line(wallet), status=201, headers={"Location": location}
        )


class WalletView(Endpoint):
    """GET /wallets/<uuid>/."""

    def get(self, request: Request, wallet_uuid: UUID) -> HttpResponse:
        wallet = Wallet.objects.get(uuid=wallet_uuid)
        return json_answer(wallet_line(wallet))
