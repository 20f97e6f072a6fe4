"""The login forms of console and admin: limited, recorded, with known devices."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from wallets.utils import login_limit

logger = logging.getLogger(__name__)

MAX_NAME = 150  # the length of Django's user names


class BoundedLogin(AuthenticationForm):
    """Username and password: hashed one at a time; logged with user id and address.

    A name that does not exist is not logged, because people type passwords there by
    mistake.
    """

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        name = self.cleaned_data.get("username")
        if not (name and self.cleaned_data.get("password")):
            # Django runs this although a field is refused, and authenticates nobody.
            return super().clean()
        if len(name) > MAX_NAME:
            # No user has such a name, and `axes` has no room for it.
            self._record(False)
            raise self.get_invalid_login_error()
        known = login_limit.is_known_device(self.request, self.cleaned_data)
        with login_limit.turn(known=known) as ours:
            if not ours:
                self._record(False)
                raise ValidationError(
                    "Too many logins at this moment. Try again in a few seconds."
                )
            try:
                cleaned = super().clean()
            except ValidationError:
                login_limit.count_failure(self.request)
                self._record(False)
                raise
        self._record(True)
        self.request.logged_in = self.get_user()  # type: ignore[attr-defined]
        return cleaned

    def get_invalid_login_error(self) -> ValidationError:
        """Return one message for a wrong password, an unknown name and a waiting name.

        It does not tell whether an account exists; everybody may know that a name can
        have to wait.
        """
        minutes = settings.AXES_COOLOFF_TIME.total_seconds() / 60
        return ValidationError(
            "Please enter a correct username and password. After "
            f"{settings.AXES_FAILURE_LIMIT} wrong ones a name waits for {minutes:g} "
            "minutes."
        )

    def _record(self, succeeded: bool) -> None:
        name = self.cleaned_data.get("username")
        user_id = User.objects.filter(username=name).values_list("pk", flat=True)
        logger.log(
            logging.INFO if succeeded else logging.WARNING,
            "login" if succeeded else "login failed",
            extra={
                "user_id": user_id.first(),
                "address": login_limit.address_of(self.request),
            },
        )


class BoundedAdminLogin(BoundedLogin, AdminAuthenticationForm):
    """The same for the admin."""

    def get_invalid_login_error(self) -> ValidationError:
        return BoundedLogin.get_invalid_login_error(self)


def known_devices(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that remembers the browser of a successful login."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        user = getattr(request, "logged_in", None)
        if user is not None:
            login_limit.remember_device(response, user.get_username())
        return response

    return middleware
