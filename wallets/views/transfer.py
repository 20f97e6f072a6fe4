"""Transfers: make one or many, show one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from rest_framework.exceptions import ValidationError

from wallets.models.transfer import Transfer
from wallets.serializers.strict import words_of
from wallets.serializers.transfer import (
    read_transfer,
    read_transfer_item,
    transfer_line,
)
from wallets.services.reads.transfers import transfers_by_uuid
from wallets.services.requests import idempotency
from wallets.services.requests.busy import Busy
from wallets.services.requests.checks import UnknownWallet, checked_amount
from wallets.services.transfers.transfer import (
    MAX_MANY,
    TransferGroup,
    TransferReceipt,
    TransferRequest,
    TransferResult,
    transfer_many,
)
from wallets.services.transfers.transfer_whole import TransferWhole
from wallets.utils import strict_json
from wallets.utils.caller import Caller
from wallets.utils.words import Words
from wallets.views.http import idempotency_key
from wallets.views.http.body import read_one_or_many
from wallets.views.http.operation import Operation
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView
from wallets.views.problems.from_exceptions import problem_of
from wallets.views.problems.problem_response import RequestRefused


class One(NamedTuple):
    """A requested transfer, and the key that the client sent, if any."""

    transfer: TransferRequest
    key: UUID | None


class Many(NamedTuple):
    """Many requested transfers; of an invalid item what is wrong with it."""

    items: Sequence[TransferRequest | Exception]


class MakeTransfers(Operation[One | Many, TransferReceipt | bytes]):
    """Move money between wallets, at once: a JSON object is one, an array is many.

    One has its key in the header; each of many has its own key and result, in order,
    and a bad item does not stop the others.
    """

    capability = "transfers"
    method = "POST"
    max_body = settings.API_MAX_BULK_BODY_BYTES
    only_reads = False

    def __init__(self) -> None:
        self._group = TransferGroup()
        self._whole = TransferWhole()

    def read(self, request: Request, query: Mapping[str, Any]) -> One | Many:
        body = read_one_or_many(request, most=MAX_MANY)
        if isinstance(body, list):
            return Many([_read(item) for item in body])
        key = idempotency_key.key_of(request)
        values = read_transfer(body)
        checked_amount(values["amount"])
        return One(_request_of(values, idempotency.parse_key(key)), key)

    def is_bulk(self, call: One | Many) -> bool:
        return isinstance(call, Many)

    def wallets_of(self, call: One | Many) -> Collection[UUID]:
        items = (call.transfer,) if isinstance(call, One) else call.items
        return [
            uuid
            for item in items
            if isinstance(item, TransferRequest)
            for uuid in (item.from_wallet, item.to_wallet)
        ]

    def without(self, call: One | Many, unknown: AbstractSet[UUID]) -> One | Many:
        if isinstance(call, Many):
            return Many([_unknown_end(item, unknown) or item for item in call.items])
        refusal = _unknown_end(call.transfer, unknown)
        if refusal is not None:
            raise refusal
        return call

    def many(
        self, calls: Sequence[One | Many], *, caller: Caller, wait: bool
    ) -> Sequence[TransferReceipt | bytes | Exception]:
        alone = [call.transfer for call in calls if isinstance(call, One)]
        do = transfer_many if wait else self._group.transfer
        results: Iterator[TransferResult] = iter(do(alone, caller=caller))
        whole = transfer_many if wait else self._whole.transfer
        return [
            next(results) if isinstance(call, One) else _do(call, caller, whole)
            for call in calls
        ]

    def write(
        self, request: Request, call: One | Many, result: TransferReceipt | bytes
    ) -> ApiResponse:
        if isinstance(result, bytes):
            return ApiResponse(result)
        headers = {"Location": request.url_to("transfer", result.transfer.uuid)}
        if isinstance(call, One):
            replayed = result.replayed
            headers |= idempotency_key.headers_of(call.key, replayed=replayed)
        return json_response(done_line(result), status=201, headers=headers)


class GetTransfer(Operation[UUID, Transfer]):
    """Show a transfer."""

    capability = "transfers"

    def read(self, request: Request, query: Mapping[str, Any]) -> UUID:
        return request.arguments["transfer_uuid"]

    def wallets_of(self, call: UUID) -> Collection[UUID]:
        return ()

    def many(
        self, calls: Sequence[UUID], *, caller: Caller, wait: bool
    ) -> Sequence[Transfer | Exception]:
        return transfers_by_uuid(calls, tenant=caller.tenant)

    def write(self, request: Request, call: UUID, result: Transfer) -> ApiResponse:
        ends = result.from_wallet.uuid, result.to_wallet.uuid
        half = result.debit
        words = Words(half.description, half.reference, half.metadata)
        line = transfer_line(result, *ends, half.idempotency_key, words)
        return json_response(line)


class TransferListView(OperationView):
    """POST /transfers/."""

    operations = (MakeTransfers(),)


class TransferView(OperationView):
    """GET /transfers/<uuid>/."""

    operations = (GetTransfer(),)


def _request_of(values: Mapping[str, Any], key: UUID) -> TransferRequest:
    ends = UUID(values["from"]), UUID(values["to"])
    return TransferRequest(*ends, values["amount"], key, words_of(values))


def _read(item: object) -> TransferRequest | Exception:
    """Return the requested transfer, or what is wrong with the item."""
    if not isinstance(item, dict):
        return RequestRefused("item_invalid")
    try:
        values = read_transfer_item(item)
    except ValidationError as error:
        return error
    return _request_of(values, UUID(values["idempotency_key"]))


def _unknown_end(
    item: TransferRequest | Exception, unknown: AbstractSet[UUID]
) -> UnknownWallet | None:
    """Return what the service says if one of the wallets does not exist."""
    if isinstance(item, TransferRequest):
        for name, uuid in (("from", item.from_wallet), ("to", item.to_wallet)):
            if uuid in unknown:
                return UnknownWallet(uuid, field=name)
    return None


def _do(
    call: Many, caller: Caller, make: Callable[..., list[TransferResult]]
) -> bytes | Busy:
    """Make many transfers in a transaction of their own; return the whole answer."""
    wanted = [item for item in call.items if isinstance(item, TransferRequest)]

    def answer(results: Sequence[TransferResult]) -> bytes:
        each = iter(results)
        return write_transfers(
            [
                next(each) if isinstance(item, TransferRequest) else item
                for item in call.items
            ]
        )

    try:
        made = make(wanted, caller=caller)
    except Busy as busy:
        return busy.then(answer)
    return answer(made)


def write_transfers(answers: Sequence[TransferReceipt | Exception]) -> bytes:
    """Return the results of many transfers as JSON.

    :raises Exception: a result that is a bug.
    """
    return strict_json.dumps([_line(answer) for answer in answers])


def _line(answer: TransferReceipt | Exception) -> dict[str, Any]:
    if isinstance(answer, Exception):
        return {"result": "refused", "problem": problem_of(answer)}
    result = "replayed" if answer.replayed else "done"
    return {"result": result} | done_line(answer)


def done_line(made: TransferReceipt) -> dict[str, Any]:
    """Return the same as `TransferDoneSerializer`, faster."""
    asked = made.request
    ends = asked.from_wallet, asked.to_wallet
    return {
        "wallet": {"uuid": asked.from_wallet, "balance": made.balance_after},
        "transfer": transfer_line(made.transfer, *ends, asked.key, asked.words),
    }
