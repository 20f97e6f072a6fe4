"""Forms: a new key, a rotation, a revocation."""

from __future__ import annotations

from datetime import datetime
from datetime import timezone as dt_timezone

from django import forms

from access.models.api_key import MAX_NAME, MAX_REASON
from access.services.keys import MAX_OVERLAP, MAX_RATE, NAMES
from access.utils.scopes import EVERYTHING, SCOPES
from wallets.utils.caller import MAX_TENANT

LOCAL = "%Y-%m-%dT%H:%M"


class ExpiryForm(forms.Form):
    """When a key ends (UTC)."""

    expires_at = forms.DateTimeField(
        required=False,
        input_formats=[LOCAL],
        widget=forms.DateTimeInput({"type": "datetime-local"}, format=LOCAL),
    )

    def clean_expires_at(self) -> datetime | None:
        """Return the time in UTC; without one None."""
        found: datetime | None = self.cleaned_data["expires_at"]
        return found and found.astimezone(dt_timezone.utc)


class KeyForm(ExpiryForm):
    """What a new key may do."""

    name = forms.CharField(
        max_length=MAX_NAME,
        help_text=f"Of the caller: {NAMES}. It is the actor of what the key changes.",
    )
    scopes = forms.MultipleChoiceField(
        choices=[*SCOPES.items(), (EVERYTHING, "everything, also what is added later")],
        widget=forms.CheckboxSelectMultiple,
    )
    tenant = forms.CharField(max_length=MAX_TENANT, required=False)
    rate = forms.IntegerField(min_value=1, max_value=MAX_RATE, required=False)


class RotateForm(ExpiryForm):
    """How long the old secret works beside the new one (seconds)."""

    overlap = forms.IntegerField(min_value=0, max_value=MAX_OVERLAP, initial=86400)


class RevokeForm(forms.Form):
    """Why a key is revoked. It is one line."""

    reason = forms.CharField(max_length=MAX_REASON)
