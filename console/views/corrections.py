"""Correcting a deposit or a transfer: a page that asks, then one call of the service."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from console.forms import CorrectionForm
from console.views.base import actor, operator_page
from wallets.errors import DamagedRows, LostRace, NotCorrectable, Refusal
from wallets.models.transaction import Transaction
from wallets.services.corrections.correction import Correctable, look
from wallets.services.corrections.correction import correct as correct_it
from wallets.utils import deeds


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page
def correct(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what can be corrected of a transaction, and correct it."""
    form = CorrectionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _do(request, pk, form)
    found = _look(pk)
    context = {"found": found, "row": found.transaction, "form": form}
    status = 400 if request.method == "POST" else 200
    return render(request, "console/correct.html", context, status=status)


def _do(request: HttpRequest, pk: int, form: CorrectionForm) -> HttpResponse:
    """Call the service once, and show the result on the wallet's page."""
    was_done = False
    found = _look(pk)
    try:
        correct_it(pk, actor=actor(request), **form.cleaned_data)
        was_done = True
    except Refusal as refusal:
        messages.error(request, f"Nothing was changed: {refusal}")
    except LostRace:
        messages.warning(
            request, "Nothing was changed: another correction was faster. Look again."
        )
    else:
        messages.success(request, "The correction is posted.")
    deeds.record(request, f"correct transaction {pk}", done=was_done)
    return redirect("console:wallet", found.transaction.wallet.uuid)


def _look(pk: int) -> Correctable:
    try:
        return look(pk)
    except (Transaction.DoesNotExist, NotCorrectable):
        raise Http404(f"There is no deposit or transfer {pk}.") from None
    except DamagedRows as error:
        raise Http404(f"Damaged rows, verify the ledger: {error}.") from None
