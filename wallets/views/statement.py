"""A wallet's past: its statement, and its balance at a moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple
from typing import Any
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request as RestRequest

from wallets.models.wallet import Wallet
from wallets.serializers.statement import (
    balance_line,
    csv_parts,
    movement_line,
)
from wallets.services.reads.balance import Balance, BalanceRequest, balances
from wallets.services.reads.statement import (
    BATCH,
    StatementPage,
    StatementRequest,
    UnknownPosition,
    statement_of,
    statement_pages,
)
from wallets.services.requests.checks import checked_uuid
from wallets.utils.caller import Caller
from wallets.utils.database.transactions import database_now
from wallets.views.http import query, tenancy
from wallets.views.http.exports import EXPORTS
from wallets.views.http.negotiation import CSVRenderer
from wallets.views.http.operation import Operation
from wallets.views.http.pagination import PageCall, Pages, cursor_refused
from wallets.views.http.query import check_order, instant, page_limit, refuse
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView


class GetStatement(Operation[PageCall[StatementRequest], StatementPage]):
    """Show a wallet's movements: JSON in pages, oldest first."""

    capability = "transactions"
    media_types = ("application/json", CSVRenderer.media_type)
    known_parameters = {
        "from": instant,
        "to": instant,
        "limit": page_limit,
        "cursor": str,
    }

    def read(
        self, request: Request, query: Mapping[str, Any]
    ) -> PageCall[StatementRequest]:
        check_order(query, "from", "to")
        pages = Pages(request, query)
        page = StatementRequest(
            request.arguments["wallet_uuid"],
            pages.limit,
            query.get("from"),
            query.get("to"),
            pages.position(numbers=3),
        )
        return PageCall(page, pages)

    def wallets_of(self, call: PageCall[StatementRequest]) -> Collection[UUID]:
        return (checked_uuid(call.page.wallet),)

    def many(
        self, calls: Sequence[PageCall[StatementRequest]], *, caller: Caller, wait: bool
    ) -> Sequence[StatementPage | Exception]:
        found = statement_pages([call.page for call in calls])
        return [
            cursor_refused() if isinstance(one, UnknownPosition) else one
            for one in found
        ]

    def write(
        self, request: Request, call: PageCall[StatementRequest], result: StatementPage
    ) -> ApiResponse:
        statement = result.statement
        return json_response(
            {
                "wallet": call.page.wallet,
                "from": call.page.start,
                "to": call.page.end,
                "opening_balance": statement.opening.balance,
                "closing_balance": statement.closing.balance,
                "movements": [movement_line(one) for one in result.movements],
            },
            headers=call.pages.links(result.following),
        )


class GetBalance(Operation[BalanceRequest, Balance]):
    """Show what a wallet held, at a moment or now, from the ledger."""

    capability = "wallets"
    known_parameters = {"at": instant}

    def read(self, request: Request, query: Mapping[str, Any]) -> BalanceRequest:
        return BalanceRequest(request.arguments["wallet_uuid"], query.get("at"))

    def wallets_of(self, call: BalanceRequest) -> Collection[UUID]:
        return (checked_uuid(call.wallet),)

    def many(
        self, calls: Sequence[BalanceRequest], *, caller: Caller, wait: bool
    ) -> Sequence[Balance | Exception]:
        return balances(calls, now=database_now())

    def write(
        self, request: Request, call: BalanceRequest, result: Balance
    ) -> ApiResponse:
        return json_response(
            {
                "wallet": call.wallet,
                "at": result.at,
                "balance": result.point.balance,
                "sequence": result.point.sequence,
            }
        )


class StatementView(OperationView):
    """GET /wallets/<uuid>/statement/: JSON in pages, oldest first, or all as CSV."""

    operations = (GetStatement(),)
    renderer_classes = [JSONRenderer, CSVRenderer]

    def serve(
        self,
        operation: Operation[Any, Any],
        request: RestRequest,
        **arguments: Any,
    ) -> HttpResponseBase:
        """Answer with a page, or with the whole statement as a stream."""
        if isinstance(request.accepted_renderer, CSVRenderer):
            known = operation.known_parameters
            parameters = query.read(self.asked.query, known)
            return self._csv(self.asked.caller, arguments["wallet_uuid"], parameters)
        return super().serve(operation, request, **arguments)

    def _csv(
        self, caller: Caller, wallet_uuid: UUID, parameters: Mapping[str, Any]
    ) -> HttpResponse | StreamingHttpResponse:
        check_order(parameters, "from", "to")
        refuse(parameters, ("limit", "cursor"), "CSV has no pages.")
        tenancy.check(caller, wallet_uuid)
        wallet = Wallet.objects.get(uuid=wallet_uuid)
        start, end = parameters.get("from"), parameters.get("to")
        statement = statement_of(wallet, start, end)
        parts = csv_parts(
            balance_line("opening", start, *astuple(statement.opening)),
            statement.batches(),
            balance_line("closing", end, *astuple(statement.closing)),
        )
        name = f"statement-{wallet.uuid}.csv"
        return EXPORTS.answer(
            parts,
            is_short=statement.count <= BATCH,
            content_type="text/csv; charset=utf-8; header=present",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


class BalanceView(OperationView):
    """GET /wallets/<uuid>/balance/: at a moment, or now, from the ledger."""

    operations = (GetBalance(),)
