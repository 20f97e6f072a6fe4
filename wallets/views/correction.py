"""Corrections: take back all or part of a deposit or a transfer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple
from uuid import UUID

from wallets.serializers.correction import correction_line, read_correction
from wallets.services.corrections.of_wallet import CorrectionReceipt, correct_of
from wallets.services.requests.checks import checked_amount
from wallets.utils.caller import Caller
from wallets.views.http import idempotency_key
from wallets.views.http.body import read_object
from wallets.views.http.operation import SingleOperation
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView
from wallets.views.transaction import no_transaction


class Asked(NamedTuple):
    """A requested correction, and the key that the client sent, if any."""

    wallet: UUID
    transaction: int
    amount: int
    reason: str
    key: UUID | None


class Correct(SingleOperation[Asked, CorrectionReceipt]):
    """Correct a deposit or a transfer of the wallet.

    Its route exists only with the setting `API_CORRECTIONS`: see `wallets.urls`.
    """

    capability = "corrections"

    def read(self, request: Request, query: Mapping[str, Any]) -> Asked:
        body = read_object(request)
        key = idempotency_key.key_of(request)
        said = read_correction(body)
        return Asked(
            request.arguments["wallet_uuid"],
            request.arguments["transaction_id"],
            checked_amount(said["amount"]),
            said["reason"],
            key,
        )

    def wallets_of(self, call: Asked) -> Collection[UUID]:
        return (call.wallet,)

    def without(self, call: Asked, unknown: AbstractSet[UUID]) -> Asked:
        raise no_transaction((call.wallet, call.transaction))

    def one(self, call: Asked, caller: Caller) -> CorrectionReceipt:
        return correct_of(
            call.wallet,
            call.transaction,
            call.amount,
            reason=call.reason,
            caller=caller,
            idempotency_key=call.key,
        )

    def write(
        self, request: Request, call: Asked, result: CorrectionReceipt
    ) -> ApiResponse:
        entry = result.movement.transaction_id
        place = request.url_to("transaction", call.wallet, entry)
        replay = idempotency_key.headers_of(call.key, replayed=result.replayed)
        return json_response(
            correction_line(
                call.wallet, result.correction, result.movement, result.key
            ),
            status=201,
            headers={"Location": place, **replay},
        )


class CorrectionListView(OperationView):
    """POST /wallets/<uuid>/transactions/<id>/corrections/."""

    operations = (Correct(),)
