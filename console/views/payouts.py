"""Pausing and resuming all payouts."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from console.access import OPERATE
from console.forms import PauseForm
from console.queries import payouts as queries
from console.queries.overview import forget
from console.views.base import actor, operator_page, page
from wallets.errors import Refusal
from wallets.services.operations import pause as pause_service
from wallets.utils import deeds


@page("pause")
def payouts(request: HttpRequest) -> HttpResponse:
    """GET /console/payouts: the state, the button, and earlier pauses."""
    return _show(request, PauseForm(), status=200)


@require_POST
@operator_page
def pause(request: HttpRequest) -> HttpResponse:
    """POST /console/payouts/pause."""
    form = PauseForm(request.POST)
    if not form.is_valid():
        return _show(request, form, status=400)
    try:
        pause_service.pause(reason=form.cleaned_data["reason"], actor=actor(request))
    except Refusal as refusal:
        deeds.record(request, "pause payouts", done=False)
        messages.error(request, f"Nothing was changed: {refusal}")
    else:
        deeds.record(request, "pause payouts", done=True)
    return _to_overview()


@require_POST
@operator_page
def resume(request: HttpRequest) -> HttpResponse:
    """POST /console/payouts/resume."""
    ended = pause_service.resume(actor=actor(request))
    deeds.record(request, "resume payouts", done=ended is not None)
    if ended is None:
        messages.warning(request, "Nothing was changed: no operator had paused them.")
    elif pause_service.is_paused():
        messages.warning(
            request, "The pause has ended; WITHDRAWALS_PAUSED is still set."
        )
    else:
        messages.success(request, "Payouts go on.")
    return _to_overview()


def _to_overview() -> HttpResponse:
    forget()
    return redirect("console:overview")


def _show(request: HttpRequest, form: PauseForm, *, status: int) -> HttpResponse:
    context = {
        "standing": pause_service.standing(),
        "earlier": queries.earlier_pauses(),
        "form": form,
        "may_act": request.user.has_perm(OPERATE),
    }
    return render(request, "console/payouts.html", context, status=status)
