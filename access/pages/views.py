"""The pages of keys: all of them, and one with its history."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from access.models.api_key import ApiKey
from access.services import keys as service
from access.utils.scopes import SCOPES
from console.views.base import page
from wallets.utils.database.transactions import database_now

# The permissions to act. That of operators is not enough: a key may do over the API what
# no operator may do alone.
MAKE, CHANGE = "access.add_apikey", "access.change_apikey"
# The tones of the badges, by state.
TONES = {"works": "good", "rotated": "busy", "expired": "warn"}


@page("access.apikey")
def keys(request: HttpRequest) -> HttpResponse:
    """GET /console/keys: all of them, the newest first."""
    context = {
        "rows": [_shown(one) for one in reversed(service.everything())],
        "may_act": request.user.has_perm(MAKE),
    }
    return render(request, "access/keys.html", context)


@page("access.apikey")
def key(request: HttpRequest, prefix: str) -> HttpResponse:
    """GET /console/keys/<prefix>: what it may do, and who did what to it."""
    found = key_or_404(prefix)
    shown = _shown(found)
    context = {
        **shown,
        "scopes": [(name, SCOPES.get(name, "everything")) for name in found.scopes],
        "history": reversed(service.history(found.name)),
        "can_rotate": found.current,
        "can_revoke": found.current,
        "may_act": request.user.has_perm(CHANGE),
    }
    return render(request, "access/key.html", context)


def key_or_404(prefix: str) -> ApiKey:
    """Return the key with this prefix.

    :raises Http404: there is none.
    """
    found = ApiKey.objects.filter(prefix=prefix).first()
    if found is None:
        raise Http404("There is no such key.")
    return found


def _shown(one: ApiKey) -> dict[str, object]:
    state = one.state(database_now())
    return {"key": one, "state": state, "tone": TONES.get(state, "muted")}
