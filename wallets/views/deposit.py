"""Deposits: money in, at once; one, or many in one request."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

import orjson
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

# Where `views.express_many` leaves an error of the database's for Django to tell: who has
# waited for a lock in vain need not do so again.
TROUBLE = "wallets.trouble"


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
        if TROUBLE in request.META:
            raise request.META[TROUBLE]
        items = [_read(item) for item in read_array(request._request, most=MAX_MANY)]
        wanted = [item for item in items if isinstance(item, DepositRequest)]
        made: Iterator[Answer | Made] = iter(deposit_bulk(wanted))
        answers = [
            next(made) if isinstance(item, DepositRequest) else item for item in items
        ]
        return HttpResponse(write_answers(answers), content_type="application/json")


def _read(item: object) -> DepositRequest | Exception:
    """The deposit that is asked for, or what is wrong with the item."""
    if not isinstance(item, dict):
        return RequestRefused("item_invalid")
    try:
        values = read_item(item)
    except ValidationError as error:
        return error
    return DepositRequest(values["wallet"], values["amount"], values["idempotency_key"])


def write_answers(answers: Iterable[Answer | Made | Exception]) -> bytes:
    """What became of each of many, as JSON.

    :raises Exception: one of the answers, when it is a bug.
    """
    return f"[{','.join([_write(answer) for answer in answers])}]".encode()


def _write(answer: Answer | Made | Exception) -> str:
    if isinstance(answer, Exception):
        refused = {"result": "refused", "problem": problem_of(answer)}
        return orjson.dumps(refused).decode()
    result = "replayed" if answer.replayed else "done"
    return f'{{"result":"{result}",{write_answer(answer)[1:]}'


def write_answer(made: Transaction | Made) -> str:
    """`deposit_answer` as JSON. For what was just made, at a fraction of the work."""
    if isinstance(made, Transaction):
        return orjson.dumps(deposit_answer(made)).decode()
    request, now, row, _ = made
    wallet = request.wallet_text
    return (
        f'{{"wallet":{{"uuid":"{wallet}","balance":{row.balance_after}}},'
        f'"transaction":{{"id":{row.transaction_id},"wallet":"{wallet}",'
        f'"amount":{request.amount},{_write_what_is_shared(now)},'
        f'"idempotency_key":"{request.key_text}"}}}}'
    )


@functools.lru_cache(maxsize=16)
def _write_what_is_shared(now: datetime) -> str:
    """What the deposits of one moment share: a line without its first three members, its
    last one and its braces.

    Kept, because those of one request share theirs.
    """
    nobody = DepositRequest(UUID(int=0), 0, UUID(int=0))
    line = transaction_line(Made(nobody, now, Deposited(0, 0, 0, 0)).transaction())
    for own in ("id", "wallet", "amount", "idempotency_key"):
        del line[own]
    return orjson.dumps(line).decode()[1:-1]
