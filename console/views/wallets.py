"""The list of wallets; one wallet: its balance, its life, its balance over time, its
statement.
"""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from console import plots
from console.access import OPERATE
from console.forms import WalletFilterForm
from console.queries import detail
from console.queries import wallets as queries
from console.queries.listing import Cursor
from console.views.base import next_query, page
from wallets.services.reads.listing import WINDOW
from wallets.utils.database.transactions import database_now
from wallets.utils.words import metadata_of


@page("wallet")
def wallets(request: HttpRequest) -> HttpResponse:
    """GET /console/wallets: one page of the list; a wallet's UUID leads to its page."""
    form = WalletFilterForm(request.GET)
    found = following = looked_at = None
    if form.is_valid():
        found = queries.page(form.query(), tenant=form.cleaned_data["tenant"])
        if not found.rows and (uuid := queries.of_uuid(form.cleaned_data["find"])):
            return redirect("console:wallet", uuid)
        if found.following:
            following = Cursor(*found.following)
            looked_at = WINDOW if len(found.rows) < queries.PAGE else None
    context = {
        "form": form,
        "page": found,
        "tenants": found and any(row.tenant for row in found.rows),
        "next_query": next_query(request, following),
        "looked_at": looked_at,
    }
    return render(request, "console/wallets.html", context)


@page("wallet")
def wallet(request: HttpRequest, wallet_uuid: UUID) -> HttpResponse:
    """GET /console/wallets/<uuid>."""
    before = request.GET.get("before", "")
    found = detail.statement(
        str(wallet_uuid),
        int(before) if before.isdecimal() and before.isascii() else None,
    )
    if found is None:
        raise Http404(f"There is no wallet {wallet_uuid}.")
    now = database_now()
    start = found.points[0][0] if found.points else found.wallet.created_at
    plot = plots.steps(
        "Balance over time",
        found.points,
        currency=found.wallet.currency,
        start=start,
        end=now,
    )
    context = {
        "statement": found,
        "wallet": found.wallet,
        "plot": plot,
        "before": before,
        "changes": detail.changes(found.wallet),
        "metadata": metadata_of(found.wallet.metadata),
        "may_act": request.user.has_perm(OPERATE) and not found.wallet.closed,
    }
    return render(request, "console/wallet.html", context)
