"""Paths of the console, all under /console/."""

from django.urls import path, register_converter

from console.views import actions, corrections, payouts
from console.views.base import nowhere
from console.views.overview import overview
from console.views.review import alarms, review
from console.views.session import ConsoleLoginView, ConsoleLogoutView
from console.views.wallet_life import change
from console.views.wallets import wallet, wallets
from console.views.withdrawals import withdrawal, withdrawals

app_name = "console"


class IdConverter:
    """An id that fits into a column."""

    regex = "[1-9][0-9]{0,17}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


class VerdictConverter:
    """The operator's conclusion about a payment."""

    regex = "paid|not-paid"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class DeedConverter:
    """An action on a wallet's life."""

    regex = "freeze|unfreeze|close"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(DeedConverter, "deed")
register_converter(IdConverter, "id")
register_converter(VerdictConverter, "verdict")

WITHDRAWAL = "withdrawals/<id:pk>"

urlpatterns = [
    path("", overview, name="overview"),
    path("login", ConsoleLoginView.as_view(), name="login"),
    path("logout", ConsoleLogoutView.as_view(), name="logout"),
    path("withdrawals", withdrawals, name="withdrawals"),
    path(WITHDRAWAL, withdrawal, name="withdrawal"),
    path(f"{WITHDRAWAL}/cancel", actions.cancel, name="cancel"),
    path(f"{WITHDRAWAL}/reschedule", actions.reschedule, name="reschedule"),
    path(f"{WITHDRAWAL}/retry", actions.retry, name="retry"),
    path(f"{WITHDRAWAL}/resolve/<verdict:verdict>", actions.resolve, name="resolve"),
    path(f"{WITHDRAWAL}/record", actions.record, name="record"),
    path(f"{WITHDRAWAL}/return", actions.record_return, name="return"),
    path("transactions/<id:pk>/correct", corrections.correct, name="correct"),
    path("payouts", payouts.payouts, name="payouts"),
    path("payouts/pause", payouts.pause, name="pause"),
    path("payouts/resume", payouts.resume, name="resume"),
    path("wallets", wallets, name="wallets"),
    path("wallets/<uuid:wallet_uuid>", wallet, name="wallet"),
    path("wallets/<uuid:wallet_uuid>/<deed:deed>", change, name="wallet_life"),
    path("review", review, name="review"),
    path("alarms", alarms, name="alarms"),
    path("alarms/<id:pk>/acknowledge", actions.acknowledge, name="acknowledge"),
    path("<path:rest>", nowhere, name="nowhere"),
]
