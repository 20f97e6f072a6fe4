"""Login and logout."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest

from wallets.views.login import BoundedLogin


class StaffForm(BoundedLogin):
    """Username and password of a member of staff."""

    def confirm_login_allowed(self, user: User) -> None:
        super().confirm_login_allowed(user)
        if not user.is_staff:
            # The same message as for a wrong password, so that it tells no account.
            raise self.get_invalid_login_error()


class ConsoleLoginView(LoginView):
    """GET and POST /console/login."""

    form_class = StaffForm
    template_name = "console/login.html"
    next_page = "console:overview"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # A user who is logged in and is not staff must be able to log in as another.
        self.redirect_authenticated_user = bool(getattr(request.user, "is_staff", 0))
        return super().dispatch(request, *args, **kwargs)


class ConsoleLogoutView(LogoutView):
    """POST /console/logout."""

    next_page = "console:login"
