"""The transactions of all wallets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from wallets.models.transaction import Transaction
from wallets.serializers.transaction import transaction_line
from wallets.services.reads.listing import Page
from wallets.services.reads.transaction_list import (
    TransactionQuery,
    list_transactions,
)
from wallets.utils import words
from wallets.utils.caller import Caller
from wallets.views.http.operation import Operation
from wallets.views.http.pagination import (
    PAGING,
    PageCall,
    Pages,
    numbers_of,
    position_of,
)
from wallets.views.http.query import (
    check_order,
    instant,
    money,
    one_of,
    page_limit,
    uuid_of,
)
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView

_FAILURES = [code for code in Transaction.FailureCode.values if code]


class ListAllTransactions(Operation[PageCall[TransactionQuery], Page[Transaction]]):
    """Show the transactions of all wallets: a bare array, newest first."""

    capability = "transactions"
    max_batch = 8  # a page may read thousands of rows
    known_parameters = {
        "reference": words.reference,
        "bank_reference": uuid_of,
        "status": one_of(*Transaction.Status.values),
        "type": one_of(*Transaction.TransactionType.values),
        "failure_code": one_of(*_FAILURES),
        "amount_from": money,
        "amount_to": money,
        "scheduled_from": instant,
        "scheduled_to": instant,
        "created_from": instant,
        "created_to": instant,
        "limit": page_limit,
        "cursor": str,
    }

    def read(
        self, request: Request, query: Mapping[str, Any]
    ) -> PageCall[TransactionQuery]:
        for name in ("amount", "scheduled", "created"):
            check_order(query, f"{name}_from", f"{name}_to")
        shown = Pages(request, query)
        filters = {name: query[name] for name in query if name not in PAGING}
        after = position_of(shown.position(numbers=2))
        page = TransactionQuery(after=after, count=shown.limit, **filters)
        return PageCall(page, shown)

    def wallets_of(self, call: PageCall[TransactionQuery]) -> Collection[UUID]:
        return ()

    def many(
        self, calls: Sequence[PageCall[TransactionQuery]], *, caller: Caller, wait: bool
    ) -> Sequence[Page[Transaction]]:
        return [list_transactions(call.page, tenant=caller.tenant) for call in calls]

    def write(
        self,
        request: Request,
        call: PageCall[TransactionQuery],
        result: Page[Transaction],
    ) -> ApiResponse:
        return json_response(
            [transaction_line(row, row.wallet.uuid) for row in result.rows],
            headers=call.pages.links(numbers_of(result.following)),
        )


class AllTransactionsView(OperationView):
    """GET /transactions/."""

    operations = (ListAllTransactions(),)
