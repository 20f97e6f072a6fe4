"""The actions: a page that asks, then one POST, which is one call of a service.

A refusal of the service is shown as a message on the withdrawal's page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from console.forms import EvidenceForm, RecordForm, RescheduleForm, ReturnForm
from console.templatetags.console import STATES
from console.views.base import actor, operator_page
from console.views.withdrawals import life_or_404
from wallets.errors import IllegalTransition, LostRace, Refusal
from wallets.models.alarm import Alarm
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.operations import alarm as alarm_service
from wallets.services.operations import payment_return, review
from wallets.services.operations import record as record_service
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.reference import references_of
from wallets.utils import deeds

GET_OR_POST = require_http_methods(["GET", "HEAD", "POST"])


@GET_OR_POST
@operator_page
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel a withdrawal that has no open attempt."""
    if request.method == "POST":
        return _do(
            request,
            pk,
            lambda: WithdrawalService.cancel(pk, actor=actor(request)),
            "The withdrawal is cancelled. No money is held for it.",
        )
    return _ask(
        request,
        pk,
        title="Cancel this withdrawal?",
        consequence="It will not be paid, now or by a retry. No money is held for it.",
        button="Cancel the withdrawal",
        tone="danger",
    )


@GET_OR_POST
@operator_page
def reschedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a withdrawal another time, before its first attempt."""
    form = RescheduleForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        when = form.cleaned_data["scheduled_for"]
        return _do(
            request,
            pk,
            lambda: WithdrawalService.reschedule(pk, when, actor=actor(request)),
            "The withdrawal is rescheduled.",
        )
    return _ask(
        request,
        pk,
        title="Reschedule this withdrawal?",
        consequence="It is paid at the new time, and not at the one above.",
        button="Reschedule the withdrawal",
        tone="",
        plan=form,
    )


@GET_OR_POST
@operator_page
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Make the next attempt of a failed withdrawal due now."""
    if request.method == "POST":
        return _do(
            request,
            pk,
            lambda: WithdrawalService.retry_now(pk, actor=actor(request)),
            "The next attempt is due now.",
        )
    return _ask(
        request,
        pk,
        title="Retry now?",
        consequence=(
            "The next attempt is made at once, with a new reference, if the wallet has "
            "the money. It counts as one of the retries."
        ),
        button="Retry now",
        tone="",
    )


@GET_OR_POST
@operator_page
def resolve(request: HttpRequest, pk: int, verdict: str) -> HttpResponse:
    """Conclude a withdrawal in review, on evidence."""
    paid = verdict == "paid"
    form = EvidenceForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        evidence = form.cleaned_data["evidence"]
        user = request.user
        return _do(
            request,
            pk,
            lambda: review.resolve(
                pk,
                paid=paid,
                evidence=evidence,
                actor=actor(request),
                user_id=user.pk,
            ),
            _resolved,
        )
    return _ask(
        request,
        pk,
        title="The bank paid?" if paid else "The bank did not pay?",
        consequence=(
            "The held money is settled: it has left the wallet for good."
            if paid
            else "The held money goes back to the wallet, and the withdrawal has failed "
            "for good. If the bank paid after all, it is lost."
        ),
        button="Resolve as paid" if paid else "Resolve as not paid",
        tone="safe" if paid else "danger",
        form=form,
        two_persons=settings.REVIEW_TWO_PERSONS and not paid,
    )


def _resolved(withdrawal: Transaction) -> str:
    if withdrawal.needs_review:
        return "Proposed as not paid: another person must confirm it."
    if withdrawal.status == Transaction.Status.COMPLETED:
        return "Resolved as paid: the money is settled."
    return "Resolved as not paid: the money is back in the wallet."


@GET_OR_POST
@operator_page
def record(request: HttpRequest, pk: int) -> HttpResponse:
    """Record a payment of the bank that the ledger does not have."""
    form = RecordForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _do(
            request,
            pk,
            lambda: record_service.record_paid(
                pk, actor=actor(request), **form.cleaned_data
            ),
            "Recorded as paid: the money has left the wallet, and nothing was sent.",
        )
    return _ask(
        request,
        pk,
        title="The bank has paid it already?",
        consequence=(
            "For a payment that the books do not have, as after a restored backup. The "
            "money leaves the wallet for good, and nothing is sent to the bank. If the bank "
            "has not paid, the customer gets no payment."
        ),
        button="Record as paid",
        tone="danger",
        form=form,
        records=True,
    )


@GET_OR_POST
@operator_page
def record_return(request: HttpRequest, pk: int) -> HttpResponse:
    """Record that the bank has sent back what it had paid."""
    form = ReturnForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _do(
            request,
            pk,
            lambda: payment_return.record_return(
                pk, actor=actor(request), **form.cleaned_data
            ),
            "The return is recorded: the money is back in the wallet.",
        )
    return _ask(
        request,
        pk,
        title="The bank returned it?",
        consequence=(
            "For a payment that the bank has sent back after it was paid, as from a closed "
            "account. The wallet gets the money by a new entry in its statement, and the "
            "withdrawal stays completed. It can be returned once."
        ),
        button="Record the return",
        tone="danger",
        form=form,
        returns=True,
    )


@GET_OR_POST
@operator_page
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """Acknowledge an alarm, without a question: it changes nothing else."""
    if request.method == "POST":
        try:
            alarm_service.acknowledge(pk, actor=actor(request))
        except Alarm.DoesNotExist:
            raise Http404(f"There is no alarm {pk}.") from None
        deeds.record(request, f"acknowledge alarm {pk}", done=True)
        messages.success(request, f"Alarm {pk} is acknowledged.")
    return redirect("console:alarms")


def _ask(request: HttpRequest, pk: int, **question: Any) -> HttpResponse:
    life = life_or_404(pk)
    if question.get("records"):
        wallet = life.withdrawal.wallet
        question["references"] = references_of(life.withdrawal, wallet.uuid)
    context = {"withdrawal": life.withdrawal, "life": life, **question}
    return render(request, "console/confirm.html", context)


def _do(
    request: HttpRequest,
    pk: int,
    work: Callable[[], Any],
    done: str | Callable[[Any], str],
) -> HttpResponse:
    """Call the service once and show the result: `done`, or what `done` returns."""
    was_done = False
    try:
        result = work()
        was_done = True
    except Transaction.DoesNotExist:
        raise Http404(f"There is no withdrawal {pk}.") from None
    except IllegalTransition as refusal:
        name, _ = STATES[State(refusal.state)]
        text = f"Nothing was changed: the withdrawal is “{name}” by now."
        messages.error(request, text)
    except Refusal as refusal:
        messages.error(request, f"Nothing was changed: {refusal}")
    except LostRace:
        messages.warning(
            request, "Nothing was changed: another process was faster. Try again."
        )
    else:
        messages.success(request, done if isinstance(done, str) else done(result))
    deeds.record(request, _deed(request), done=was_done, withdrawal_id=pk)
    return redirect("console:withdrawal", pk)


def _deed(request: HttpRequest) -> str:
    """Return the action's name from the URL: `cancel`, `resolve not-paid`."""
    match = request.resolver_match
    names = (match.url_name, match.kwargs.get("verdict")) if match else ()
    return " ".join(filter(None, names))
