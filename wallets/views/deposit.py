"""Deposits: one, or many in one request."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from rest_framework.exceptions import ValidationError

from wallets.models.wallet import Wallet
from wallets.serializers.deposit import read_deposit, read_item, read_plain_items
from wallets.serializers.transaction import transaction_line
from wallets.services.deposits.deposit import (
    MAX_MANY,
    DepositReceipt,
    DepositRequest,
    DepositResult,
    deposit_many,
)
from wallets.services.deposits.deposit_group import DepositGroup
from wallets.services.requests.busy import Busy
from wallets.services.requests.checks import checked_amount
from wallets.utils import strict_json
from wallets.utils.caller import Caller
from wallets.utils.words import NO_WORDS, Words, metadata_of
from wallets.views.http import idempotency_key
from wallets.views.http.body import parse_array, read_array_body, read_object
from wallets.views.http.operation import Operation
from wallets.views.http.request import ApiResponse, Request
from wallets.views.http.rest_framework import OperationView
from wallets.views.problems.from_exceptions import problem_of
from wallets.views.problems.problem_response import RequestRefused


class Asked(NamedTuple):
    """A requested deposit, and the key that the client sent, if any."""

    deposit: DepositRequest
    key: str | None


class Deposit(Operation[Asked, DepositReceipt]):
    """Add money to a wallet, at once."""

    capability = "deposits"
    method = "POST"
    max_body = settings.API_MAX_BODY_BYTES
    only_reads = False

    def __init__(self) -> None:
        self._group = DepositGroup()

    def read(self, request: Request, query: Mapping[str, Any]) -> Asked:
        key = idempotency_key.text_of(request)
        amount, words = read_deposit(read_object(request))
        wallet = request.arguments["wallet_uuid"]
        used = key or uuid.uuid4()
        checked = checked_amount(amount)
        return Asked(DepositRequest(wallet, checked, used, words), key)

    def wallets_of(self, call: Asked) -> Collection[UUID]:
        return (call.deposit.wallet_uuid,)

    def many(
        self, calls: Sequence[Asked], *, caller: Caller, wait: bool
    ) -> Sequence[DepositResult]:
        requests = [call.deposit for call in calls]
        if wait:
            return deposit_many(requests, caller=caller)
        return self._group.deposit(requests, caller=caller)

    def write(
        self, request: Request, call: Asked, result: DepositReceipt
    ) -> ApiResponse:
        headers = idempotency_key.headers_of(call.key, replayed=result.replayed)
        return ApiResponse(write_answer(result).encode(), headers=headers)


# A deposit of many, or what is wrong with the item.
Item = DepositRequest | Exception


class DepositMany(Operation[list[Item], bytes]):
    """Make many deposits; each item has its own key and result, in order.

    A bad item does not stop the others. An `Idempotency-Key` of the whole request is
    ignored.
    """

    capability = "deposits"
    method = "POST"
    max_body = settings.API_MAX_BULK_BODY_BYTES
    only_reads = False

    def __init__(self) -> None:
        self._group = DepositGroup()

    def is_bulk(self, call: list[Item]) -> bool:
        return True

    def read(self, request: Request, query: Mapping[str, Any]) -> list[Item]:
        body = read_array_body(request)
        plain = read_plain_items(body)
        if plain is not None and len(plain) <= MAX_MANY:
            return [DepositRequest(*item) for item in plain]
        return [_read(item) for item in parse_array(body, most=MAX_MANY)]

    def wallets_of(self, call: list[Item]) -> Collection[UUID]:
        return [one.wallet_uuid for one in call if isinstance(one, DepositRequest)]

    def without(self, call: list[Item], unknown: AbstractSet[UUID]) -> list[Item]:
        return [
            (
                Wallet.DoesNotExist(f"no wallet {item.wallet_text}")
                if isinstance(item, DepositRequest) and item.wallet_uuid in unknown
                else item
            )
            for item in call
        ]

    def many(
        self, calls: Sequence[list[Item]], *, caller: Caller, wait: bool
    ) -> Sequence[bytes | Exception]:
        return [self._do(items, caller, wait=wait) for items in calls]

    def _do(self, items: list[Item], caller: Caller, *, wait: bool) -> bytes | Busy:
        """Make the deposits; return the whole answer. Busy wallets do not stop others."""
        wanted = [item for item in items if isinstance(item, DepositRequest)]
        do = deposit_many if wait else self._group.deposit
        made = do(wanted, caller=caller)
        busy = {n: wanted[n] for n, one in enumerate(made) if isinstance(one, Busy)}

        def rest() -> bytes:
            again = deposit_many([*busy.values()], caller=caller)
            all_made = dict(enumerate(made)) | dict(zip(busy, again, strict=True))
            return _write_in_order(items, all_made.values())

        if busy:
            wallets = {one.wallet_uuid for one in busy.values()}
            return Busy(wallets=wallets, rest=rest)
        return _write_in_order(items, made)

    def write(self, request: Request, call: list[Item], result: bytes) -> ApiResponse:
        return ApiResponse(result)


class DepositView(OperationView):
    """POST /wallets/<uuid>/deposit."""

    operations = (Deposit(),)


class DepositListView(OperationView):
    """POST /deposits/."""

    operations = (DepositMany(),)


def _read(item: object) -> Item:
    """Return the requested deposit, or what is wrong with the item."""
    if not isinstance(item, dict):
        return RequestRefused("item_invalid")
    try:
        return DepositRequest(*read_item(item))
    except ValidationError as error:
        return error


def _write_in_order(items: list[Item], made: Iterable[DepositResult]) -> bytes:
    results = iter(made)
    return write_answers(
        next(results) if isinstance(item, DepositRequest) else item for item in items
    )


def write_answers(answers: Iterable[DepositReceipt | Exception]) -> bytes:
    """Return the results of many deposits as JSON.

    :raises Exception: a result that is a bug.
    """
    return f"[{','.join([_write(answer) for answer in answers])}]".encode()


def _write(answer: DepositReceipt | Exception) -> str:
    if isinstance(answer, Exception):
        refused = {"result": "refused", "problem": problem_of(answer)}
        return strict_json.dumps(refused).decode()
    result = "replayed" if answer.replayed else "done"
    return f'{{"result":"{result}",{write_answer(answer)[1:]}'


def write_answer(made: DepositReceipt) -> str:
    """Return the same as `DepositSerializer`, faster, as JSON."""
    request, at, pk, _, balance, *_ = made
    wallet = request.wallet_text
    return (
        f'{{"wallet":{{"uuid":"{wallet}","balance":{balance}}},'
        f'"transaction":{{"id":{pk},"wallet":"{wallet}",'
        f'"amount":{request.amount},{_write_what_is_shared(at)},'
        f'"idempotency_key":"{request.key_text}",{_write_words(request.words)}}}}}'
    )


def _write_words(words: Words) -> str:
    """Return the members of a deposit's words, without braces."""
    if words is NO_WORDS:
        return _NO_WORDS
    members = {
        "description": words.description or None,
        "reference": words.reference or None,
        "metadata": metadata_of(words.metadata),
        "if_frozen": None,
    }
    return strict_json.dumps(members).decode()[1:-1]


_NO_WORDS = '"description":null,"reference":null,"metadata":{},"if_frozen":null'


@functools.lru_cache(maxsize=16)
def _write_what_is_shared(now: datetime) -> str:
    """Return the members that all deposits of one moment share, without braces.

    The id, wallet, amount, key and words are left out. Cached, because the deposits of one
    request have the same moment.
    """
    nobody = DepositRequest(UUID(int=0), 0, UUID(int=0))
    deposit = DepositReceipt(nobody, now, 0, 0, 0).transaction
    line = transaction_line(deposit, nobody.wallet_uuid)
    for own in (
        "id",
        "wallet",
        "amount",
        "idempotency_key",
        *Words._fields,
        "if_frozen",
    ):
        del line[own]
    return strict_json.dumps(line).decode()[1:-1]
