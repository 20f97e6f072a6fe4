"""Transactions: list a wallet's, look at one, cancel one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework.request import Request

from wallets.errors import NotCancelable
from wallets.models.states import Event, State
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.serializers.strict import read_no_fields
from wallets.serializers.transaction import transaction_line
from wallets.services.withdrawal import WithdrawalService
from wallets.utils.db import read_in_order
from wallets.views.base import Endpoint, json_answer
from wallets.views.pagination import page_of
from wallets.views.parameters import check_order, instant, one_of, page_limit
from wallets.views.parsers import read_nothing


class TransactionListView(Endpoint):
    """GET /wallets/<uuid>/transactions/: a bare array, newest first."""

    known_parameters = {
        "status": one_of(*Transaction.Status.values),
        "type": one_of(*Transaction.TransactionType.values),
        "created_from": instant,
        "created_to": instant,
        "limit": page_limit,
        "cursor": str,
    }
    conditions = {
        "status": "status",
        "type": "transaction_type",
        "created_from": "created_at__gte",
        "created_to": "created_at__lt",
    }

    def get(self, request: Request, wallet_uuid: UUID) -> HttpResponse:
        check_order(self.parameters, "created_from", "created_to")
        wallet = Wallet.objects.get(uuid=wallet_uuid)
        rows = _newest_first(wallet)
        for name, condition in self.conditions.items():
            if name in self.parameters:
                rows = rows.filter(**{condition: self.parameters[name]})
        with _in_order(self.parameters):
            page, headers = page_of(rows, request, self.parameters)
        for row in page:
            row.wallet = wallet
        return json_answer([transaction_line(row) for row in page], headers=headers)


class TransactionView(Endpoint):
    """GET /wallets/<uuid>/transactions/<id>/."""

    def get(
        self, request: Request, wallet_uuid: UUID, transaction_id: int
    ) -> HttpResponse:
        transaction = _transaction_of(wallet_uuid, transaction_id)
        return json_answer(transaction_line(transaction))


class CancelView(Endpoint):
    """POST /wallets/<uuid>/transactions/<id>/cancel: safe to repeat, without a key.

    A deposit is a transaction that cannot be cancelled, not one that does not exist.
    """

    def post(
        self, request: Request, wallet_uuid: UUID, transaction_id: int
    ) -> HttpResponse:
        read_no_fields(read_nothing(request._request))
        found = _transaction_of(wallet_uuid, transaction_id)
        if found.transaction_type != Transaction.TransactionType.WITHDRAWAL:
            raise NotCancelable(State.COMPLETED.value, Event.CANCEL.value)
        cancelled = WithdrawalService.cancel(found.pk)
        cancelled.wallet = found.wallet
        return json_answer(transaction_line(cancelled))


def _newest_first(wallet: Wallet) -> QuerySet[Transaction]:
    """A wallet's transactions, by the index that begins with the wallet, read backwards.

    PostgreSQL takes "equal, newest first" as leave to read all wallets' rows backwards:
    quick where this one's are among the last, and a million rows where they are not.
    MariaDB reads a big wallet's from its end to the page. Asked for a range in the
    index's own order, backwards, they have no such choice.
    """
    if connection.vendor == "sqlite":
        return wallet.transactions.order_by("-pk")
    mine = Transaction.objects.filter(wallet__gte=wallet.pk, wallet__lte=wallet.pk)
    return mine.order_by("-wallet_id", "-pk")


def _in_order(parameters: dict[str, Any]) -> AbstractContextManager[None]:
    """Have a page read in the order of the list, from its place on, and nothing sorted.

    But for a time long ago everything newer would be read: there is an index by time.
    """
    by_time = parameters.keys() & {"created_from", "created_to"}
    return nullcontext() if by_time else read_in_order()


def _transaction_of(wallet_uuid: UUID, transaction_id: int) -> Transaction:
    """A transaction exists only under its own wallet.

    :raises Transaction.DoesNotExist: when this wallet has no such one.
    """
    return Transaction.objects.select_related("wallet").get(
        pk=transaction_id, wallet__uuid=wallet_uuid
    )
