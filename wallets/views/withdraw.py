"""Withdrawals: scheduled now, paid later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from wallets.serializers.withdraw import read_withdrawal, scheduled_line
from wallets.services.withdrawals.schedule import (
    ScheduleReceipt,
    ScheduleRequest,
    schedule_many,
)
from wallets.views.http import idempotency_key
from wallets.views.http.body import read_object
from wallets.views.http.operation import Operation
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView


class Withdraw(Operation[ScheduleRequest, ScheduleReceipt]):
    """Schedule a withdrawal. The balance is checked when it is due."""

    method = "POST"
    max_body = settings.API_MAX_BODY_BYTES
    only_reads = False

    def read(self, request: Request, query: Mapping[str, Any]) -> ScheduleRequest:
        key = idempotency_key.key_of(request)
        values = read_withdrawal(read_object(request))
        return ScheduleRequest(
            request.arguments["wallet_uuid"],
            values["amount"],
            values["scheduled_for"],
            key,
        )

    def many(
        self, calls: Sequence[ScheduleRequest], *, wait: bool
    ) -> Sequence[ScheduleReceipt | Exception]:
        return schedule_many(calls, wait=wait)

    def write(
        self, request: Request, call: ScheduleRequest, result: ScheduleReceipt
    ) -> ApiResponse:
        made = result.transaction
        return json_response(
            scheduled_line(made, call.wallet),
            status=201,
            headers={
                "Location": request.url_of_transaction(call.wallet, made.pk),
                **idempotency_key.headers_of(call.key, replayed=result.replayed),
            },
        )


class WithdrawView(OperationView):
    """POST /wallets/<uuid>/withdraw."""

    operation = Withdraw()
