"""The path of the first page of some pages, without its last slash: it leads there.

Only for pages, such as the console's. Of the API no path has two forms: see `right_path`.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

from wallets.views.problems import problem_response

_METHODS = ("GET", "HEAD")


def to_page(name: str) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view that leads to the page of this name, with the same query.

    It refuses methods that may have a body, because a redirect would drop it.
    """

    @csrf_exempt  # so that these are told about the method
    def view(request: HttpRequest) -> HttpResponse:
        if request.method not in _METHODS:
            headers = {"Allow": ", ".join(_METHODS)}
            return problem_response.answer("method_not_allowed", headers=headers)
        query = request.META.get("QUERY_STRING", "")
        return HttpResponseRedirect(reverse(name) + (f"?{query}" if query else ""))

    return view
