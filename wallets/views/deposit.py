"""Deposits: money in, at once; one, or many in one request."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from wallets.models.transaction import Transaction
from wallets.serializers.deposit import deposit_answer, read_amount, read_item
from wallets.serializers.transaction import transaction_line
from wallets.services.deposit import (
    MAX_MANY,
    Answer,
    DepositRequest,
    Made,
    deposit_bulk,
)
from wallets.services.ledger_postgresql import Deposited
from wallets.services.wallet import WalletService
from wallets.views import idempotent
from wallets.views.base import Endpoint, json_answer
from wallets.views.errors import problem_of
from wallets.views.parsers import read_array, read_object
from wallets.views.problems import RequestRefused


class DepositView(Endpoint):
    """POST /wallets/<uuid>/deposit."""

    def post(self, request: Request, wallet_uuid: UUID) -> HttpResponse:
        key = idempotent.key_of(request)
        amount = read_amount(read_object(request._request))
        deposit = WalletService.deposit(wallet_uuid, amount, key)
        return json_answer(
            deposit_answer(deposit), headers=idempotent.headers_of(deposit, key)
        )


class DepositListView(Endpoint):
    """POST /deposits/: each item has a key and an answer of its own, in order.

    A bad item keeps no other from being done. An `Idempotency-Key` of the whole request
    has no meaning and is ignored.
    """

    def post(self, request: Request) -> HttpResponse:
        items = [_read(item) for item in read_array(request._request, most=MAX_MANY)]
        wanted = [item for item in items if isinstance(item, DepositRequest)]
        made: Iterator[Answer | Made] = iter(deposit_bulk(wanted))
        return json_answer(
            [
                _line(next(made) if isinstance(item, DepositRequest) else item)
                for item in items
            ]
        )


def _read(item: object) -> DepositRequest | Exception:
    """The deposit that is asked for, or what is wrong with the item."""
    if not isinstance(item, dict):
        return RequestRefused("item_invalid")
    try:
        values = read_item(item)
    except ValidationError as error:
        return error
    return DepositRequest(values["wallet"], values["amount"], values["idempotency_key"])


def _line(answer: Answer | Made | Exception) -> dict[str, Any]:
    if isinstance(answer, Exception):
        return {"result": "refused", "problem": problem_of(answer)}
    result = "replayed" if answer.replayed else "done"
    return {"result": result, **answer_of(answer)}


def answer_of(made: Transaction | Made) -> dict[str, Any]:
    """What `deposit_answer` says of the transaction, where it can at a fraction of the work."""
    if isinstance(made, Transaction):
        return deposit_answer(made)
    wallet = made.request.wallet_text
    own = {
        "id": made.row.transaction_id,
        "wallet": wallet,
        "amount": made.request.amount,
    }
    return {
        "wallet": {"uuid": wallet, "balance": made.row.balance_after},
        "transaction": {**_line_of_those_made(made.now), **own},
    }


@functools.lru_cache(maxsize=16)
def _line_of_those_made(now: datetime) -> dict[str, Any]:
    """What the deposits of one moment share, and where each has its own.

    Kept, because those of one request share theirs.
    """
    nobody = DepositRequest(UUID(int=0), 0, UUID(int=0))
    return transaction_line(Made(nobody, now, Deposited(0, 0, 0, 0)).transaction())
