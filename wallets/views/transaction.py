"""Transactions: list, show, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from wallets.models.transaction import Transaction
from wallets.serializers.strict import read_no_fields
from wallets.serializers.transaction import transaction_line
from wallets.services.reads.current import PageRequest, pages, transactions_by_id
from wallets.services.withdrawal import WithdrawalService
from wallets.views.http.body import read_nothing
from wallets.views.http.operation import Operation
from wallets.views.http.pagination import Pages
from wallets.views.http.query import check_order, instant, one_of, page_limit
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView

# A transaction is found only under its own wallet.
Place = tuple[UUID, int]


class PageCall(NamedTuple):
    """A requested page, and the writer of its links."""

    page: PageRequest
    pages: Pages


class ListTransactions(Operation[PageCall, list[Transaction]]):
    """Show a wallet's transactions: a bare array, newest first."""

    known_parameters = {
        "status": one_of(*Transaction.Status.values),
        "type": one_of(*Transaction.TransactionType.values),
        "created_from": instant,
        "created_to": instant,
        "limit": page_limit,
        "cursor": str,
    }

    def read(self, request: Request, query: Mapping[str, Any]) -> PageCall:
        check_order(query, "created_from", "created_to")
        shown = Pages(request, query)
        position = shown.position(numbers=1)
        page = PageRequest(
            wallet=request.arguments["wallet_uuid"],
            before=position[0] if position else None,
            # One more row shows whether another page follows.
            count=shown.limit + 1,
            status=query.get("status"),
            type=query.get("type"),
            created_from=query.get("created_from"),
            created_to=query.get("created_to"),
        )
        return PageCall(page, shown)

    def many(
        self, calls: Sequence[PageCall], *, wait: bool
    ) -> Sequence[list[Transaction] | Exception]:
        return pages([call.page for call in calls])

    def write(
        self, request: Request, call: PageCall, result: list[Transaction]
    ) -> ApiResponse:
        page = result[: call.pages.limit]
        following = [page[-1].pk] if len(result) > len(page) else None
        return json_response(
            [transaction_line(row, call.page.wallet) for row in page],
            headers=call.pages.links(following),
        )


class GetTransaction(Operation[Place, Transaction]):
    """Show a transaction."""

    def read(self, request: Request, query: Mapping[str, Any]) -> Place:
        return _place_of(request)

    def many(
        self, calls: Sequence[Place], *, wait: bool
    ) -> Sequence[Transaction | Exception]:
        return transactions_by_id(calls)

    def write(self, request: Request, call: Place, result: Transaction) -> ApiResponse:
        return json_response(transaction_line(result, call[0]))


class Cancel(Operation[Place, Transaction]):
    """Cancel a withdrawal. Safe to repeat, without a key.

    A deposit cannot be cancelled (409); it is not "not found".
    """

    method = "POST"
    max_body = settings.API_MAX_BODY_BYTES
    max_batch = 1
    always_waits = True
    only_reads = False

    def read(self, request: Request, query: Mapping[str, Any]) -> Place:
        read_no_fields(read_nothing(request))
        return _place_of(request)

    def many(
        self, calls: Sequence[Place], *, wait: bool
    ) -> Sequence[Transaction | Exception]:
        return [WithdrawalService.cancel_of(*place) for place in calls]

    def write(self, request: Request, call: Place, result: Transaction) -> ApiResponse:
        return json_response(transaction_line(result, call[0]))


def _place_of(request: Request) -> Place:
    return request.arguments["wallet_uuid"], request.arguments["transaction_id"]


class TransactionListView(OperationView):
    """GET /wallets/<uuid>/transactions/."""

    operation = ListTransactions()


class TransactionView(OperationView):
    """GET /wallets/<uuid>/transactions/<id>/."""

    operation = GetTransaction()


class CancelView(OperationView):
    """POST /wallets/<uuid>/transactions/<id>/cancel."""

    operation = Cancel()
