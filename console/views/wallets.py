"""One wallet: its balance, its life, its balance over time, its statement."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from console import plots
from console.access import OPERATE
from console.queries import detail
from console.views.base import page
from wallets.utils.database.transactions import database_now
from wallets.utils.words import metadata_of


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
    plot = plots.steps("Balance over time", found.points, start=start, end=now)
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
