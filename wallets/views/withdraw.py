"""Withdrawals: scheduled now, paid later."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings

from wallets.serializers.withdraw import read_withdrawal, scheduled_line
from wallets.services.withdrawals.schedule import (
    ScheduleReceipt,
    ScheduleRequest,
    schedule_many,
)
from wallets.utils.caller import Caller
from wallets.views.http import idempotency_key
from wallets.views.http.body import read_object
from wallets.views.http.operation import Operation
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView


class Withdraw(Operation[ScheduleRequest, ScheduleReceipt]):
    """Schedule a withdrawal. The balance is checked when it is due."""

    capability = "withdrawals"
    method = "POST"
    max_body = settings.API_MAX_BODY_BYTES
    only_reads = False

    def read(self, request: Request, query: Mapping[str, Any]) -> ScheduleRequest:
        key = idempotency_key.key_of(request)
        amount, when, fails, words = read_withdrawal(read_object(request))
        wallet = request.arguments["wallet_uuid"]
        return ScheduleRequest(wallet, amount, when, key, fails, words)

    def wallets_of(self, call: ScheduleRequest) -> Collection[UUID]:
        return (call.wallet,)

    def many(
        self, calls: Sequence[ScheduleRequest], *, caller: Caller, wait: bool
    ) -> Sequence[ScheduleReceipt | Exception]:
        return schedule_many(calls, caller=caller, wait=wait)

    def write(
        self, request: Request, call: ScheduleRequest, result: ScheduleReceipt
    ) -> ApiResponse:
        made = result.transaction
        return json_response(
            scheduled_line(made, call.wallet),
            status=201,
            headers={
                "Location": request.url_to("transaction", call.wallet, made.pk),
                **idempotency_key.headers_of(call.key, replayed=result.replayed),
            },
        )


class WithdrawView(OperationView):
    """POST /wallets/<uuid>/withdraw."""

    operations = (Withdraw(),)
