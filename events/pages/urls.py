"""Paths of the pages of webhooks, under /console/."""

from django.urls import path

from events.pages import actions, views

app_name = "webhook_pages"

_WEBHOOK = "webhooks/<uuid:webhook_uuid>"
_DELIVERY = f"{_WEBHOOK}/deliveries/<int:sequence>"

urlpatterns = [
    path("webhooks", views.webhooks, name="webhooks"),
    path(_WEBHOOK, views.webhook, name="webhook"),
    path(f"{_WEBHOOK}/test", actions.test, name="test"),
    path(f"{_WEBHOOK}/on", actions.on, name="on"),
    path(f"{_WEBHOOK}/off", actions.off, name="off"),
    path(_DELIVERY, views.delivery, name="delivery"),
    path(f"{_DELIVERY}/again", actions.again, name="again"),
]
