"""Root URL configuration."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from wallets.views.http.without_slash import to_page
from wallets.views.login import BoundedAdminLogin
from wallets.views.metrics import metrics

urlpatterns: list[URLPattern | URLResolver] = [path("", include("wallets.urls"))]
if settings.ADMIN_ENABLED:
    admin.site.site_title = admin.site.site_header = "Wallet Service"
    admin.site.index_title = "Look at anything"
    admin.site.login_form = BoundedAdminLogin
    # The target of "View site".
    admin.site.site_url = "/console/" if settings.CONSOLE_ENABLED else None
    urlpatterns += [path("admin/", admin.site.urls)]
    urlpatterns += [path("admin", to_page("admin:index"))]
if settings.METRICS_ENABLED:
    urlpatterns += [path("metrics", metrics, name="metrics")]
if settings.CONSOLE_ENABLED:
    pages = [*settings.CONSOLE_EXTENSIONS, "console"]
    urlpatterns += [path("console/", include(f"{one}.urls")) for one in pages]
    urlpatterns += [path("console", to_page("console:overview"))]

# Requests that Django refuses get problems, too.
handler400 = "wallets.views.problems.from_exceptions.bad_request"
handler403 = "wallets.views.problems.from_exceptions.permission_denied"
handler404 = "wallets.views.problems.from_exceptions.page_not_found"
handler500 = "wallets.views.problems.from_exceptions.server_error"
