"""Freezing, unfreezing and closing a wallet: a page that asks, then one POST."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from console.forms import CloseForm, FreezeForm
from console.queries import detail
from console.views.base import actor, operator_page
from wallets.errors import LostRace, Refusal
from wallets.models.wallet import Wallet
from wallets.services.wallets import life
from wallets.utils import deeds


class Question(NamedTuple):
    """What the page of an action asks, and what its button says."""

    title: str
    consequence: str
    button: str
    tone: str
    done: str


QUESTIONS = {
    "freeze": Question(
        "Freeze this wallet?",
        "In: deposits are refused. Out: new withdrawals are refused, and what is due "
        "waits or fails, as its request said. A payment that is on its way goes on.",
        "Freeze the wallet",
        "danger",
        "The wallet is frozen.",
    ),
    "unfreeze": Question(
        "Unfreeze this wallet?",
        "Withdrawals that waited are paid at once, the earliest first.",
        "Unfreeze the wallet",
        "",
        "The freeze has ended.",
    ),
    "close": Question(
        "Close this wallet for good?",
        "It takes, gives and changes nothing any more. This cannot be undone. Only an "
        "empty wallet without open withdrawals can be closed.",
        "Close the wallet",
        "danger",
        "The wallet is closed.",
    ),
}


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page
def change(request: HttpRequest, wallet_uuid: UUID, deed: str) -> HttpResponse:
    """Ask for the reason, then freeze, unfreeze or close the wallet."""
    wallet = detail.wallet(wallet_uuid)
    if wallet is None:
        raise Http404(f"There is no wallet {wallet_uuid}.")
    kind = CloseForm if deed == "close" else FreezeForm
    form = kind(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _do(request, wallet, deed, form)
    context = {
        "wallet": wallet,
        "deed": deed,
        "form": form,
        **QUESTIONS[deed]._asdict(),
    }
    status = 400 if request.method == "POST" else 200
    return render(request, "console/wallet_life.html", context, status=status)


def _do(
    request: HttpRequest, wallet: Wallet, deed: str, form: CloseForm
) -> HttpResponse:
    """Call the service once, and show the result on the wallet's page."""
    reason, said = form.cleaned_data["reason"], actor(request)
    was_done = False
    try:
        if deed == "close":
            life.close(wallet.uuid, reason=reason, actor=said)
        else:
            work = life.freeze if deed == "freeze" else life.unfreeze
            direction = form.cleaned_data["direction"]
            work(wallet.uuid, direction, reason=reason, actor=said)
        was_done = True
    except Refusal as refusal:
        messages.error(request, f"Nothing was changed: {refusal}")
    except LostRace:
        messages.warning(
            request, "Nothing was changed: another process was faster. Try again."
        )
    else:
        messages.success(request, QUESTIONS[deed].done)
    deeds.record(request, f"{deed} wallet {wallet.uuid}", done=was_done)
    return redirect("console:wallet", wallet.uuid)
