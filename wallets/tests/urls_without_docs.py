"""The service's URLs with API_DOCS_ENABLED=false."""

from django.urls import include, path

from wallets import urls

urlpatterns = [
    path("", include([each for each in urls.urlpatterns if each.name not in urls.DOCS]))
]
handler404 = "wallets.views.problems.from_exceptions.page_not_found"
