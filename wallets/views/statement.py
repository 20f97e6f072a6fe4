"""The past of a wallet: its statement, its balance at a moment."""

from __future__ import annotations

from dataclasses import astuple
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from wallets.models.wallet import Wallet
from wallets.serializers.statement import (
    balance_line,
    csv_parts,
    movement_line,
    text_of,
)
from wallets.services.statement import (
    BATCH,
    Statement,
    balance_at,
    statement_between,
    statement_of,
)
from wallets.utils import instants
from wallets.utils.db import database_now
from wallets.views.base import Endpoint, json_answer
from wallets.views.exports import EXPORTS
from wallets.views.negotiation import CSVRenderer
from wallets.views.pagination import Pages, cursor_refused
from wallets.views.parameters import check_order, instant, page_limit, refuse


class StatementView(Endpoint):
    """GET /wallets/<uuid>/statement/: JSON in pages, oldest first, or CSV whole."""

    renderer_classes = [JSONRenderer, CSVRenderer]
    known_parameters = {
        "from": instant,
        "to": instant,
        "limit": page_limit,
        "cursor": str,
    }

    def get(
        self, request: Request, wallet_uuid: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        check_order(self.parameters, "from", "to")
        as_csv = isinstance(request.accepted_renderer, CSVRenderer)
        if as_csv:
            refuse(self.parameters, ("limit", "cursor"), "CSV has no pages.")
        wallet = Wallet.objects.get(uuid=wallet_uuid)
        return self._csv(wallet) if as_csv else self._page(request, wallet)

    def _page(self, request: Request, wallet: Wallet) -> HttpResponse:
        pages = Pages(request, self.parameters)
        position = pages.position(numbers=3)
        if position is None:
            statement = self._begin(wallet)
            after = statement.opening.sequence
        else:
            # All pages are of the statement that the first one began.
            after, opening_number, closing_number = position
            found = statement_between(wallet, opening_number, closing_number)
            if found is None or not opening_number <= after <= closing_number:
                raise cursor_refused()
            statement = found
        movements = statement.page(after, pages.limit)
        opening, closing = statement.opening, statement.closing
        following = None
        if movements and movements[-1].sequence < closing.sequence:
            last = movements[-1].sequence
            following = [last, opening.sequence, closing.sequence]
        return json_answer(
            {
                "wallet": str(wallet.uuid),
                "from": text_of(self.parameters.get("from")),
                "to": text_of(self.parameters.get("to")),
                "opening_balance": opening.balance,
                "closing_balance": closing.balance,
                "movements": [movement_line(movement) for movement in movements],
            },
            headers=pages.links(following),
        )

    def _csv(self, wallet: Wallet) -> HttpResponse | StreamingHttpResponse:
        start, end = self.parameters.get("from"), self.parameters.get("to")
        statement = self._begin(wallet)
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

    def _begin(self, wallet: Wallet) -> Statement:
        start, end = self.parameters.get("from"), self.parameters.get("to")
        return statement_of(wallet, start, end)


class BalanceView(Endpoint):
    """GET /wallets/<uuid>/balance/: at a moment, or now, from the ledger."""

    known_parameters = {"at": instant}

    def get(self, request: Request, wallet_uuid: UUID) -> HttpResponse:
        wallet = Wallet.objects.get(uuid=wallet_uuid)
        at = self.parameters.get("at")
        found = balance_at(wallet, at)
        return json_answer(
            {
                "wallet": str(wallet_uuid),
                "at": instants.write(at or database_now()),
                "balance": found.balance,
                "sequence": found.sequence,
            }
        )
