"""Paths of the wallet API: exactly those of the specification, and the health checks.

Nothing redirects: a redirect drops the body of a POST.
"""

from __future__ import annotations

from django.conf import settings
from django.urls import URLPattern, path, register_converter

from wallets.views.base import Endpoint
from wallets.views.deposit import DepositListView, DepositView
from wallets.views.docs import DocsView, ProblemListView, ProblemView, SchemaView
from wallets.views.health import AliveView, ReadyView
from wallets.views.index import IndexView
from wallets.views.statement import BalanceView, StatementView
from wallets.views.transaction import CancelView, TransactionListView, TransactionView
from wallets.views.wallet import WalletListView, WalletView
from wallets.views.withdraw import WithdrawView


class TransactionIdConverter:
    """A positive integer in its one canonical form, which a column can hold."""

    regex = "[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number >= 2**63:
            raise ValueError
        return number

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(TransactionIdConverter, "transaction_id")

# Django's UUID converter takes the canonical lower-case form only.
WALLET = "wallets/<uuid:wallet_uuid>/"
TRANSACTION = f"{WALLET}transactions/<transaction_id:transaction_id>/"


def _action(route: str, view: type[Endpoint], name: str) -> list[URLPattern]:
    """An action is taken with and without the trailing slash, and documented once."""
    return [
        path(route, view.as_view(), name=name),
        path(f"{route}/", view.as_view(schema=None), name=f"{name}-slash"),
    ]


urlpatterns = [
    path("", IndexView.as_view(), name="index"),
    path("wallets/", WalletListView.as_view(), name="wallets"),
    path(WALLET, WalletView.as_view(), name="wallet"),
    *_action(f"{WALLET}deposit", DepositView, "deposit"),
    *_action(f"{WALLET}withdraw", WithdrawView, "withdraw"),
    path("deposits/", DepositListView.as_view(), name="deposits"),
    path(f"{WALLET}transactions/", TransactionListView.as_view(), name="transactions"),
    path(f"{WALLET}statement/", StatementView.as_view(), name="statement"),
    path(f"{WALLET}balance/", BalanceView.as_view(), name="balance"),
    path(TRANSACTION, TransactionView.as_view(), name="transaction"),
    *_action(f"{TRANSACTION}cancel", CancelView, "cancel"),
    path("healthz", AliveView.as_view(), name="healthz"),
    path("readyz", ReadyView.as_view(), name="readyz"),
    path("problems/", ProblemListView.as_view(), name="problems"),
    path("problems/<slug:code>", ProblemView.as_view(), name="problem"),
]
# What API_DOCS_ENABLED switches.
DOCS = ("schema", "docs")
if settings.API_DOCS_ENABLED:
    urlpatterns += [
        path("api/schema/", SchemaView.as_view(), name="schema"),
        path("api/docs/", DocsView.as_view(), name="docs"),
    ]
