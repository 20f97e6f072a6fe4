"""The list of withdrawals, and one withdrawal with its history."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from console.access import OPERATE
from console.forms import FilterForm
from console.queries import detail, listing
from console.queries.detail import Life
from console.views.base import is_htmx, next_query, page
from wallets.models.states import Event, State, rule_for
from wallets.models.transaction import Transaction


@page("transaction")
def withdrawals(request: HttpRequest) -> HttpResponse:
    """GET /console/withdrawals: one page of the list."""
    form = FilterForm(request.GET)
    found = None
    if form.is_valid():
        found = listing.page(form.filters(), form.cleaned_data["after"])
    context = {
        "form": form,
        "page": found,
        "next_query": next_query(request, found and found.next),
    }
    return render(request, "console/withdrawals.html", context)


@page("transaction")
def withdrawal(request: HttpRequest, pk: int) -> HttpResponse:
    """GET /console/withdrawals/<id>: its history; reloads when it changes."""
    life = life_or_404(pk)
    if is_htmx(request):
        if request.GET.get("seen") == life.fingerprint:
            return HttpResponse(status=204)
        return HttpResponseClientRefresh()
    state = life.withdrawal.known_state
    may_act = request.user.has_perm(OPERATE)
    context = {
        "life": life,
        "withdrawal": life.withdrawal,
        "may_resolve": may_act and state is State.NEEDS_REVIEW,
        "may_cancel": may_act and life.withdrawal.cancelable,
        "may_reschedule": may_act and rule_for(state, Event.RESCHEDULE) is not None,
        "may_record": may_act and rule_for(state, Event.RECORD_PAID) is not None,
        "may_retry": may_act and state is State.FAILED_RETRYABLE,
        "may_return": may_act and state is State.COMPLETED and not life.returned,
        "may_act": may_act,
        "lateness": _lateness(life.withdrawal),
    }
    return render(request, "console/withdrawal.html", context)


def _lateness(withdrawal: Transaction) -> float | None:
    if withdrawal.executed_at is None or withdrawal.scheduled_for is None:
        return None
    late = (withdrawal.executed_at - withdrawal.scheduled_for).total_seconds()
    # A recorded payment may be earlier than the scheduled time.
    return late if late >= 0 else None


def life_or_404(pk: int) -> Life:
    """Return the withdrawal with all its rows.

    :raises Http404: there is no such withdrawal.
    """
    found = detail.life(pk)
    if found is None:
        raise Http404(f"There is no withdrawal {pk}.")
    return found
