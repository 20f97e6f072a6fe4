"""Paths of the API: those of the specification, and others such as health checks.

No path redirects, because a redirect drops the body of a POST.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from django.conf import settings
from django.urls import URLPattern, path, register_converter

from wallets.utils import extensions
from wallets.utils.limits import MAX_BIGINT
from wallets.views.correction import CorrectionListView
from wallets.views.deposit import DepositListView, DepositView
from wallets.views.docs import DocsView, ProblemListView, ProblemView, SchemaView
from wallets.views.health import AliveView, ReadyView
from wallets.views.http.route import Route
from wallets.views.index import IndexView
from wallets.views.statement import BalanceView, StatementView
from wallets.views.transaction import (
    CancelView,
    RescheduleView,
    TransactionListView,
    TransactionView,
)
from wallets.views.transaction_list import AllTransactionsView
from wallets.views.transfer import TransferListView, TransferView
from wallets.views.wallet import WalletListView, WalletView
from wallets.views.wallet_life import CloseView, FreezeView, UnfreezeView
from wallets.views.withdraw import WithdrawView


class TransactionIdConverter:
    """A positive integer in canonical form that fits into a column."""

    regex = "[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number > MAX_BIGINT:
            raise ValueError
        return number

    def to_url(self, value: int) -> str:
        return str(value)


class CorrectableIdConverter(TransactionIdConverter):
    """The same, for a path that exists only with API_CORRECTIONS.

    Without it no request matches the path, as if it had no route.
    """

    def to_python(self, value: str) -> int:
        if not settings.API_CORRECTIONS:
            raise ValueError
        return super().to_python(value)


register_converter(TransactionIdConverter, "transaction_id")
register_converter(CorrectableIdConverter, "correctable_id")

# Django's UUID converter accepts the canonical lower-case form only.
WALLET = "wallets/<uuid:wallet_uuid>/"
TRANSACTION = f"{WALLET}transactions/<transaction_id:transaction_id>/"
CORRECTIONS = f"{WALLET}transactions/<correctable_id:transaction_id>/corrections/"


ROUTES = (
    Route("", IndexView, "index"),
    Route("wallets/", WalletListView, "wallets"),
    Route(WALLET, WalletView, "wallet"),
    Route(f"{WALLET}deposit", DepositView, "deposit", is_action=True),
    Route(f"{WALLET}withdraw", WithdrawView, "withdraw", is_action=True),
    Route(f"{WALLET}freeze", FreezeView, "freeze", is_action=True),
    Route(f"{WALLET}unfreeze", UnfreezeView, "unfreeze", is_action=True),
    Route(f"{WALLET}close", CloseView, "close", is_action=True),
    Route("deposits/", DepositListView, "deposits"),
    Route("transactions/", AllTransactionsView, "all_transactions"),
    Route("transfers/", TransferListView, "transfers"),
    Route("transfers/<uuid:transfer_uuid>/", TransferView, "transfer"),
    Route(f"{WALLET}transactions/", TransactionListView, "transactions"),
    Route(f"{WALLET}statement/", StatementView, "statement"),
    Route(f"{WALLET}balance/", BalanceView, "balance"),
    Route(TRANSACTION, TransactionView, "transaction"),
    Route(f"{TRANSACTION}cancel", CancelView, "cancel", is_action=True),
    Route(f"{TRANSACTION}reschedule", RescheduleView, "reschedule", is_action=True),
    Route(CORRECTIONS, CorrectionListView, "corrections"),
    Route("healthz", AliveView, "healthz"),
    Route("readyz", ReadyView, "readyz"),
    Route("problems/", ProblemListView, "problems"),
    Route("problems/<slug:code>", ProblemView, "problem"),
    *chain.from_iterable(extensions.of_each("urls", "ROUTES")),
)
# The routes that API_DOCS_ENABLED switches.
DOCS = ("schema", "docs")


def _patterns() -> Iterator[URLPattern]:
    for route in ROUTES:
        yield path(route.path, route.view.as_view(), name=route.name)
        if route.is_action:
            slash = route.view.as_view(schema=None)
            yield path(f"{route.path}/", slash, name=f"{route.name}-slash")


urlpatterns = list(_patterns())
if settings.API_DOCS_ENABLED:
    urlpatterns += [
        path("api/schema/", SchemaView.as_view(), name="schema"),
        path("api/docs/", DocsView.as_view(), name="docs"),
    ]
