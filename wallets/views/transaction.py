"""Transactions: list, show, cancel, reschedule."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any
from uuid import UUID

from wallets.models.rows import TransactionRow
from wallets.models.transaction import Transaction
from wallets.serializers.strict import read_no_fields
from wallets.serializers.transaction import transaction_line
from wallets.serializers.withdraw import read_reschedule
from wallets.services.reads.current import PageRequest, pages, transactions_by_id
from wallets.services.requests.checks import checked_uuid
from wallets.services.withdrawal import WithdrawalService
from wallets.utils.caller import Caller
from wallets.views.http.body import read_nothing, read_object
from wallets.views.http.operation import Operation, SingleOperation
from wallets.views.http.pagination import PageCall, Pages
from wallets.views.http.query import check_order, instant, one_of, page_limit
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView

# A transaction is found only under its own wallet.
Place = tuple[UUID, int]
# A withdrawal, and the time that it shall have.
Planned = tuple[UUID, int, datetime]


class ListTransactions(Operation[PageCall[PageRequest], list[TransactionRow]]):
    """Show a wallet's transactions: a bare array, newest first."""

    capability = "transactions"
    known_parameters = {
        "status": one_of(*Transaction.Status.values),
        "type": one_of(*Transaction.TransactionType.values),
        "created_from": instant,
        "created_to": instant,
        "limit": page_limit,
        "cursor": str,
    }

    def read(self, request: Request, query: Mapping[str, Any]) -> PageCall[PageRequest]:
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

    def wallets_of(self, call: PageCall[PageRequest]) -> Collection[UUID]:
        return (checked_uuid(call.page.wallet),)

    def many(
        self, calls: Sequence[PageCall[PageRequest]], *, caller: Caller, wait: bool
    ) -> Sequence[list[TransactionRow] | Exception]:
        return pages([call.page for call in calls])

    def write(
        self,
        request: Request,
        call: PageCall[PageRequest],
        result: list[TransactionRow],
    ) -> ApiResponse:
        page = result[: call.pages.limit]
        following = [page[-1].id] if len(result) > len(page) else None
        return json_response(
            [transaction_line(row, call.page.wallet) for row in page],
            headers=call.pages.links(following),
        )


class GetTransaction(Operation[Place, Transaction]):
    """Show a transaction."""

    capability = "transactions"

    def read(self, request: Request, query: Mapping[str, Any]) -> Place:
        return _place_of(request)

    def wallets_of(self, call: Place) -> Collection[UUID]:
        return call[:1]

    def without(self, call: Place, unknown: AbstractSet[UUID]) -> Place:
        raise no_transaction(call)

    def many(
        self, calls: Sequence[Place], *, caller: Caller, wait: bool
    ) -> Sequence[Transaction | Exception]:
        return transactions_by_id(calls)

    def write(self, request: Request, call: Place, result: Transaction) -> ApiResponse:
        return json_response(transaction_line(result, call[0]))


class Cancel(SingleOperation[Place, Transaction]):
    """Cancel a withdrawal. Safe to repeat, without a key.

    A deposit cannot be cancelled (409); it is not "not found".
    """

    capability = "withdrawals"

    def read(self, request: Request, query: Mapping[str, Any]) -> Place:
        read_no_fields(read_nothing(request))
        return _place_of(request)

    def wallets_of(self, call: Place) -> Collection[UUID]:
        return call[:1]

    def without(self, call: Place, unknown: AbstractSet[UUID]) -> Place:
        raise no_transaction(call)

    def one(self, call: Place, caller: Caller) -> Transaction:
        return WithdrawalService.cancel_of(*call, actor=caller.actor)

    def write(self, request: Request, call: Place, result: Transaction) -> ApiResponse:
        return json_response(transaction_line(result, call[0]))


class Reschedule(SingleOperation[Planned, Transaction]):
    """Give a withdrawal another time. Safe to repeat, without a key."""

    capability = "withdrawals"

    def read(self, request: Request, query: Mapping[str, Any]) -> Planned:
        when = read_reschedule(read_object(request))
        return *_place_of(request), when

    def wallets_of(self, call: Planned) -> Collection[UUID]:
        return call[:1]

    def without(self, call: Planned, unknown: AbstractSet[UUID]) -> Planned:
        raise no_transaction(call[:2])

    def one(self, call: Planned, caller: Caller) -> Transaction:
        return WithdrawalService.reschedule_of(*call, actor=caller.actor)

    def write(
        self, request: Request, call: Planned, result: Transaction
    ) -> ApiResponse:
        return json_response(transaction_line(result, call[0]))


def _place_of(request: Request) -> Place:
    return request.arguments["wallet_uuid"], request.arguments["transaction_id"]


def no_transaction(place: Place) -> Transaction.DoesNotExist:
    """Return what the service says of a wallet that does not exist."""
    return Transaction.DoesNotExist(f"no transaction {place[1]} of wallet {place[0]}")


class TransactionListView(OperationView):
    """GET /wallets/<uuid>/transactions/."""

    operations = (ListTransactions(),)


class TransactionView(OperationView):
    """GET /wallets/<uuid>/transactions/<id>/."""

    operations = (GetTransaction(),)


class CancelView(OperationView):
    """POST /wallets/<uuid>/transactions/<id>/cancel."""

    operations = (Cancel(),)


class RescheduleView(OperationView):
    """POST /wallets/<uuid>/transactions/<id>/reschedule."""

    operations = (Reschedule(),)
