"""The admin: shows and finds rows; changes none that the ledger owns.

Two actions are possible, each one service call with the user as actor: resolve a
withdrawal in review, and acknowledge an alarm. Nothing is edited, added or deleted.
"""

from __future__ import annotations

from typing import Any, ClassVar

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from wallets.errors import IllegalTransition, InvalidInput, LostRace
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.correction import Correction
from wallets.models.heartbeat import Heartbeat
from wallets.models.ledger import Movement
from wallets.models.pause import Pause
from wallets.models.payment_return import PaymentReturn
from wallets.models.review_proposal import ReviewProposal
from wallets.models.tally import Tally
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.operations import alarm as alarm_service
from wallets.services.operations import review, review_proposal
from wallets.utils import deeds
from wallets.utils.actors import operator
from wallets.utils.look_only import Groups, LookOnly, Users
from wallets.utils.words import money


@admin.register(Wallet)
class WalletAdmin(LookOnly):
    list_display = (
        *("uuid", "tenant", "created_by", "reference"),
        *("state", "balance", "held", "created_at"),
    )
    uuid_fields: ClassVar[list[str]] = ["uuid"]
    text_fields: ClassVar[list[str]] = ["tenant"]


@admin.register(WalletChange)
class WalletChangeAdmin(LookOnly):
    list_display = ("wallet", "sequence", "event", "actor", "reason", "created_at")
    list_select_related = ("wallet",)


class ResolveForm(forms.Form):
    """The outcome and the evidence of a withdrawal in review."""

    outcome = forms.ChoiceField(
        choices=[
            ("paid", "The bank has paid: settle it"),
            ("not_paid", "The bank has not paid and never will: give the money back"),
        ],
        widget=forms.RadioSelect,
    )
    evidence = forms.CharField(
        max_length=review.MAX_EVIDENCE, widget=forms.Textarea(attrs={"rows": 4})
    )


@admin.register(Transaction)
class TransactionAdmin(LookOnly):
    list_display = (
        "pk",
        "transaction_type",
        "status",
        "needs_review",
        "amount",
        "wallet",
        "scheduled_for",
        "executed_at",
        "retry_count",
    )
    list_filter = ("needs_review", "status", "transaction_type", "final")
    list_select_related = ("wallet",)
    uuid_fields: ClassVar[list[str]] = [
        "wallet__uuid",
        "idempotency_key",
        "attempts__reference",
    ]
    change_form_template = "admin/wallets/transaction/view.html"

    def get_urls(self) -> list[URLPattern]:
        resolve = path(
            "<int:pk>/resolve/",
            self.admin_site.admin_view(self.resolve_view),
            name="wallets_transaction_resolve",
        )
        return [resolve, *super().get_urls()]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {**(extra_context or {}), "may_resolve": _may_resolve(request)}
        return super().changeform_view(request, object_id, form_url, context)

    def resolve_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the outcome and the evidence, then resolve."""
        if not _may_resolve(request):
            raise PermissionDenied
        withdrawal = get_object_or_404(review.waiting(), pk=pk)
        form = ResolveForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            return self._resolve(request, withdrawal.pk, form.cleaned_data)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Resolve withdrawal {withdrawal.pk}",
            "withdrawal": withdrawal,
            "amount": money(withdrawal.amount, withdrawal.wallet.currency),
            "attempt": withdrawal.attempts.last(),
            "proposal": review_proposal.of(withdrawal.pk),
            "form": form,
            "opts": self.opts,
        }
        return TemplateResponse(
            request, "admin/wallets/transaction/resolve.html", context
        )

    def _resolve(
        self, request: HttpRequest, pk: int, values: dict[str, str]
    ) -> HttpResponse:
        deed = f"resolve {values['outcome']}"
        try:
            done = review.resolve(
                pk,
                paid=values["outcome"] == "paid",
                evidence=values["evidence"],
                actor=operator(request.user),
                user_id=request.user.pk,
            )
        except (IllegalTransition, InvalidInput) as error:
            deeds.record(request, deed, done=False, withdrawal_id=pk)
            self.message_user(request, f"Not resolved: {error}", messages.ERROR)
        except LostRace:
            deeds.record(request, deed, done=False, withdrawal_id=pk)
            text = "Not resolved: another process was faster. Try again."
            self.message_user(request, text, messages.WARNING)
        else:
            deeds.record(request, deed, done=True, withdrawal_id=pk)
            said = (
                f"Withdrawal {pk} is proposed as not paid: another person must confirm it."
                if done.needs_review
                else f"Withdrawal {pk} is {done.status}."
            )
            self.message_user(request, said)
        return HttpResponseRedirect(
            reverse("admin:wallets_transaction_change", args=[pk])
        )


def _may_resolve(request: HttpRequest) -> bool:
    return request.user.has_perm("wallets.change_transaction")


class OfTransaction(LookOnly):
    """Rows that belong to a transaction."""

    id_fields: ClassVar[list[str]] = ["transaction_id"]
    list_select_related: ClassVar[tuple[str, ...]] = ("transaction",)


@admin.register(Movement)
class MovementAdmin(OfTransaction):
    list_display = (
        "pk",
        "kind",
        "amount",
        "wallet",
        "sequence",
        "balance_after",
        "transaction",
        "attempt_number",
        "created_at",
    )
    list_filter = ("kind",)
    list_select_related = ("wallet", "transaction")
    uuid_fields: ClassVar[list[str]] = ["wallet__uuid"]


@admin.register(Attempt)
class AttemptAdmin(OfTransaction):
    list_display = (
        "transaction",
        "number",
        "reference",
        "outcome",
        "open",
        "sends",
        "checks",
        "started_at",
        "closed_at",
    )
    list_filter = ("outcome", "open")
    uuid_fields: ClassVar[list[str]] = ["reference"]


@admin.register(Transition)
class TransitionAdmin(OfTransaction):
    list_display = (
        *("transaction", "sequence", "event", "from_state", "to_state"),
        *("actor", "created_at"),
    )
    list_filter = ("event", "to_state")


@admin.register(Alarm)
class AlarmAdmin(OfTransaction):
    list_display = (
        "pk",
        "kind",
        "subject",
        "transaction",
        "attempt_number",
        "created_at",
        "acknowledged_at",
        "acknowledged_by",
    )
    list_filter = ("kind", ("acknowledged_at", admin.EmptyFieldListFilter))
    actions = ("acknowledge",)

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("wallets.change_alarm")

    @admin.action(
        description="Acknowledge the selected alarms", permissions=["acknowledge"]
    )
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alarm]) -> None:
        """Acknowledge the alarms as this user."""
        for alarm in queryset:
            alarm_service.acknowledge(alarm.pk, actor=operator(request.user))
            deeds.record(request, f"acknowledge alarm {alarm.pk}", done=True)
        self.message_user(request, "Acknowledged.")


class OfService(LookOnly):
    """Rows of the service itself; there are few."""

    ordering = None
    search_fields: ClassVar[list[str]] = []


admin.site.register(Heartbeat, OfService, list_display=("name", "ran_at", "by"))
admin.site.register(Tally, OfService, list_display=("name", "upto"))
_PAUSE = ("pk", "paused_at", "paused_by", "reason", "resumed_at", "resumed_by")
admin.site.register(Pause, OfService, list_display=_PAUSE)

_PROPOSAL = ("pk", "transaction", "proposed_by", "evidence", "created_at")
admin.site.register(ReviewProposal, OfTransaction, list_display=_PROPOSAL)


@admin.register(Transfer)
class TransferAdmin(LookOnly):
    list_display = ("uuid", "from_wallet", "to_wallet", "amount", "created_at")
    list_select_related = ("from_wallet", "to_wallet")
    id_fields: ClassVar[list[str]] = ["debit_id", "credit_id"]
    uuid_fields: ClassVar[list[str]] = ["uuid"]


@admin.register(Correction)
class CorrectionAdmin(LookOnly):
    list_display = ("corrects", "number", "amount", "actor", "reason", "created_at")
    id_fields: ClassVar[list[str]] = ["corrects_id", "debit_id", "credit_id"]
    list_select_related = ("corrects",)


_RETURN = ("withdrawal", "amount", "return_reference", "actor", "reason", "created_at")
_IDS = ["withdrawal_id", "credit_id"]
admin.site.register(PaymentReturn, LookOnly, list_display=_RETURN, id_fields=_IDS)

# Logins and failures, which `axes` itself would allow to delete.
_ACCESS = ("attempt_time", "username", "ip_address", "path_info")
admin.site.register(
    (AccessAttempt, AccessLog, AccessFailureLog), OfService, list_display=_ACCESS
)

admin.site.unregister((User, Group))
admin.site.register(User, Users)
admin.site.register(Group, Groups)
