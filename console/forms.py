"""Forms: filters, the evidence of a review, the reason of a pause or a freeze."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from datetime import timezone as dt_timezone

from django import forms

from console.queries.listing import Cursor, Filters
from wallets.models.base import MAX_MONEY
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.operations.pause import MAX_REASON
from wallets.services.operations.review import MAX_EVIDENCE
from wallets.services.reads.listing import Position
from wallets.services.reads.wallet_list import WalletQuery
from wallets.utils import words
from wallets.utils.caller import TENANT, TENANTS
from wallets.utils.limits import MAX_BIGINT
from wallets.utils.words import MAX_REASON as MAX_LIFE_REASON

Status = Transaction.Status
LOCAL = "%Y-%m-%dT%H:%M"


class CursorField(forms.CharField):
    """The position of a page, from a link of ours."""

    widget = forms.HiddenInput

    def clean(self, value: str | None) -> Cursor | None:
        """Return the position; None for the first page.

        :raises ValidationError: a text that is no position.
        """
        text = super().clean(value)
        found = parse_cursor(text)
        if text and found is None:
            raise forms.ValidationError(
                "There is no such page: look for it from the first one."
            )
        return found


class PageForm(forms.Form):
    """The filters of a list, and which page of it, from the query string."""

    after = CursorField(required=False)

    @property
    def filtered(self) -> bool:
        """Whether there is a filter, valid or not."""
        return any(field.data for field in self.visible_fields())


class FilterForm(PageForm):
    """The filters of the list of withdrawals."""

    status = forms.ChoiceField(
        required=False,
        choices=[
            ("", "Any status"),
            *((status, status.capitalize()) for status in Status.values),
            ("NEEDS_REVIEW", "Needs review"),
        ],
    )
    id = forms.IntegerField(required=False, min_value=1, max_value=MAX_BIGINT)
    wallet = forms.UUIDField(required=False)
    since = forms.DateTimeField(
        required=False,
        input_formats=[LOCAL],
        widget=forms.DateTimeInput({"type": "datetime-local"}, format=LOCAL),
    )
    until = forms.DateTimeField(
        required=False,
        input_formats=[LOCAL],
        widget=forms.DateTimeInput({"type": "datetime-local"}, format=LOCAL),
    )

    def filters(self) -> Filters:
        """Return the valid filters."""
        found = self.cleaned_data
        review = found.get("status") == "NEEDS_REVIEW"
        return Filters(
            status=Status.PROCESSING if review else found.get("status") or "",
            needs_review=review,
            wallet_uuid=str(found.get("wallet") or ""),
            transaction_id=found.get("id"),
            since=found.get("since"),
            until=found.get("until"),
        )


class WalletFilterForm(PageForm):
    """The filters of the list of wallets. `find` is a reference, or a UUID."""

    find = forms.CharField(
        required=False,
        label="Reference or UUID",
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
    )
    state = forms.ChoiceField(
        required=False,
        choices=[
            ("", "Any state"),
            *((one, one.replace("_", " ").capitalize()) for one in Wallet.State.values),
        ],
    )
    currency = forms.CharField(required=False)
    tenant = forms.CharField(required=False)

    def clean_find(self) -> str:
        """Return a possible reference. Every UUID is one, too."""
        return _allowed(words.reference, self.cleaned_data["find"])

    def clean_currency(self) -> str:
        """Return the code in upper case."""
        return _allowed(words.currency_code, self.cleaned_data["currency"].upper())

    def clean_tenant(self) -> str:
        """Return a possible name of a tenant."""
        text: str = self.cleaned_data["tenant"]
        if text and not TENANT.fullmatch(text):
            raise forms.ValidationError(f"A tenant has {TENANTS}.")
        return text

    def query(self) -> WalletQuery:
        """Return the valid filters, without the tenant."""
        found = self.cleaned_data
        after: Cursor | None = found["after"]
        return WalletQuery(
            after=Position(after.moment, after.pk) if after else None,
            reference=found["find"] or None,
            currency=found["currency"] or None,
            state=found["state"] or None,
        )


def _allowed(check: Callable[[object], str], text: str) -> str:
    """Return what the check makes of a text; no text is no filter.

    :raises ValidationError: the check refuses it.
    """
    try:
        return check(text) if text else ""
    except words.NotAllowed as refusal:
        raise forms.ValidationError(str(refusal)) from None


class EvidenceForm(forms.Form):
    """The evidence for resolving a withdrawal in review."""

    evidence = forms.CharField(max_length=MAX_EVIDENCE, widget=forms.Textarea)


class RecordForm(EvidenceForm):
    """What an operator knows about a payment that the ledger does not have."""

    reference = forms.UUIDField(required=False)
    paid_at = forms.DateTimeField(
        required=False,
        input_formats=[LOCAL],
        widget=forms.DateTimeInput({"type": "datetime-local"}, format=LOCAL),
    )


class RescheduleForm(forms.Form):
    """The new time of a withdrawal."""

    scheduled_for = forms.DateTimeField(
        input_formats=[LOCAL],
        widget=forms.DateTimeInput({"type": "datetime-local"}, format=LOCAL),
    )


class AmountForm(forms.Form):
    """An amount in minor units, and why it moves."""

    amount = forms.IntegerField(min_value=1, max_value=MAX_MONEY)
    reason = forms.CharField(max_length=words.MAX_REASON, widget=forms.Textarea)

    def clean_reason(self) -> str:
        """Return the reason as one line, because the service takes no line ends."""
        return " ".join(self.cleaned_data["reason"].split())


class CorrectionForm(AmountForm):
    """How much is taken back, and why; `number` is that of the correction."""

    number = forms.IntegerField(min_value=1, max_value=MAX_BIGINT)


class ReturnForm(AmountForm):
    """How much the bank has sent back, why, and what it calls the return."""

    return_reference = forms.CharField(max_length=words.MAX_REFERENCE)


class PauseForm(forms.Form):
    """The reason of a pause."""

    reason = forms.CharField(max_length=MAX_REASON, widget=forms.Textarea)


class CloseForm(forms.Form):
    """The reason of a change of a wallet's life. It is one line."""

    reason = forms.CharField(max_length=MAX_LIFE_REASON)


class FreezeForm(CloseForm):
    """The directions of a freeze, and its reason."""

    direction = forms.ChoiceField(
        choices=[("both", "In and out"), ("in", "In"), ("out", "Out")]
    )


def parse_cursor(text: str) -> Cursor | None:
    """Return the position of a page; None for an invalid text."""
    try:
        moment, pk = text.split("_")
        when = datetime.fromtimestamp(float(moment), dt_timezone.utc)
        number = int(pk)
    except (ValueError, OverflowError, OSError):
        return None
    return Cursor(when, number) if 0 < number <= MAX_BIGINT else None
