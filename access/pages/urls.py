"""Paths of the pages of keys, under /console/."""

from django.urls import path

from access.pages import actions, views

app_name = "key_pages"

urlpatterns = [
    path("keys", views.keys, name="keys"),
    path("keys/new", actions.create, name="create"),
    path("keys/<slug:prefix>", views.key, name="key"),
    path("keys/<slug:prefix>/rotate", actions.rotate, name="rotate"),
    path("keys/<slug:prefix>/revoke", actions.revoke, name="revoke"),
]
