"""Withdrawals: scheduled now, paid out later."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from wallets.serializers.transaction import transaction_line
from wallets.serializers.withdraw import read_withdrawal
from wallets.services.withdrawal import WithdrawalService
from wallets.views import idempotent
from wallets.views.base import Endpoint, json_answer
from wallets.views.parsers import read_object


class WithdrawView(Endpoint):
    """POST /wallets/<uuid>/withdraw."""

    def post(self, request: Request, wallet_uuid: UUID) -> HttpResponse:
        key = idempotent.key_of(request)
        values = read_withdrawal(read_object(request._request))
        withdrawal = WithdrawalService.schedule(
            wallet_uuid, values["amount"], values["scheduled_for"], key
        )
        path = reverse("transaction", args=[wallet_uuid, withdrawal.pk])
        return json_answer(
            transaction_line(withdrawal),
            status=201,
            headers={
                "Location": request.build_absolute_uri(path),
                **idempotent.headers_of(withdrawal, key),
            },
        )
