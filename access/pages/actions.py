"""The actions on keys: a page that asks, then one POST, which is one call of a service.

A new secret is in the answer to its POST, and nowhere else. A POST that is sent twice
makes no second secret: the name is taken, or the key has another prefix by then.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from access.errors import InvalidKey
from access.models.api_key import ApiKey
from access.pages.forms import KeyForm, RevokeForm, RotateForm
from access.pages.views import CHANGE, MAKE, key_or_404
from access.services import keys
from access.services.keys import Made, Wanted
from console.views.base import actor, page_for
from wallets.errors import LostRace, Refusal
from wallets.utils import deeds

ASKS = require_http_methods(["GET", "HEAD", "POST"])


@ASKS
@page_for(MAKE)
def create(request: HttpRequest) -> HttpResponse:
    """GET and POST /console/keys/new."""
    form = KeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        wanted = Wanted(
            said["scopes"], said["tenant"], said["rate"], said["expires_at"]
        )
        answer = _made(
            request,
            form,
            f"make key {said['name']}",
            lambda: keys.create(said["name"], wanted, actor=actor(request)),
        )
        if answer is not None:
            return answer
    return _ask(request, form, "access/new_key.html", {})


@ASKS
@page_for(CHANGE)
def rotate(request: HttpRequest, prefix: str) -> HttpResponse:
    """GET and POST …/rotate: give the key a new secret."""
    key = key_or_404(prefix)
    form = RotateForm(request.POST or None, initial={"overlap": 86400})
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        answer = _made(
            request,
            form,
            f"rotate key {key.name} {prefix}",
            lambda: keys.rotate(
                key.name,
                overlap=said["overlap"],
                expires_at=said["expires_at"],
                actor=actor(request),
                expected_prefix=prefix,
            ),
        )
        if answer is not None:
            return answer
    return _ask(request, form, "access/rotate_key.html", {"key": key})


@ASKS
@page_for(CHANGE)
def revoke(request: HttpRequest, prefix: str) -> HttpResponse:
    """GET and POST …/revoke: end the key, and those that it replaced."""
    key = key_or_404(prefix)
    form = RevokeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _revoke(request, key, form.cleaned_data["reason"])
    return _ask(request, form, "access/revoke_key.html", {"key": key})


def _revoke(request: HttpRequest, key: ApiKey, reason: str) -> HttpResponse:
    said: Any = {"actor": actor(request), "expected_prefix": key.prefix}
    was_done = False
    try:
        keys.revoke(key.name, reason=reason, **said)
        was_done = True
    except Refusal as refusal:
        messages.error(request, f"Nothing was changed: {refusal}")
    except LostRace:
        messages.warning(
            request, "Nothing was changed: another process was faster. Try again."
        )
    else:
        messages.success(
            request, "The key is revoked. In five seconds nobody takes it."
        )
    deeds.record(request, f"revoke key {key.name} {key.prefix}", done=was_done)
    return redirect("key_pages:key", key.prefix)


@sensitive_variables()
def _made(
    request: HttpRequest, form: forms.Form, deed: str, work: Any
) -> HttpResponse | None:
    """Call the service once; return the page with the secret, None after a refusal."""
    try:
        made: Made = work()
    except InvalidKey as refusal:
        field = refusal.field if refusal.field in form.fields else None
        form.add_error(field, str(refusal))
    except (Refusal, LostRace) as refusal:
        form.add_error(None, f"Nothing was changed: {refusal}")
    else:
        deeds.record(request, deed, done=True)
        context = {"key": made.key, "secret": made.secret}
        return render(request, "access/secret.html", context)
    deeds.record(request, deed, done=False)
    return None


def _ask(
    request: HttpRequest, form: forms.Form, template: str, context: dict[str, Any]
) -> HttpResponse:
    status = 400 if request.method == "POST" else 200
    return render(request, template, {"form": form, **context}, status=status)
