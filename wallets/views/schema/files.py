"""Documents made from the code: `make docs` writes them, a test compares them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from django.conf import settings
from drf_spectacular.renderers import OpenApiYamlRenderer

from wallets.utils import extensions
from wallets.views.problems.catalogue import PROBLEMS
from wallets.views.schema.document import document
from wallets.views.schema.operation import CALLER
from wallets.views.schema.operations import OPERATIONS

_HEAD = """# Problems

Every refusal and failure of the API is `application/problem+json` (RFC 9457) with one of
these codes. A code never changes its meaning: compare `code`, and show `detail` to people.
`type` is `/problems/<code>`, a page of the service.

`errors` has an entry for each wrong field, parameter or header: `field`, `code`, `detail`.
With one entry the problem has its code; with several it has `invalid_request`.

<!-- Made from wallets/views/problems/catalogue.py by `make docs`. -->

| status | code | meaning | answered by |
|---|---|---|---|
"""


def openapi_yaml() -> bytes:
    """Return the OpenAPI document as it is committed."""
    return OpenApiYamlRenderer().render(document())


def problems_markdown() -> str:
    """Return the page of problems as it is committed: the same with keys and without."""
    optional = chain.from_iterable(extensions.of_each_optional("problems", "PROBLEMS"))
    rows = []
    for code, problem in (dict(PROBLEMS) | {one.code: one for one in optional}).items():
        meaning = f"**{problem.title}.** {problem.explanation}"
        where = _answered_by(code)
        rows.append(f"| {problem.status} | `{code}` | {meaning} | {where} |\n")
    return _HEAD + "".join(rows)


def _answered_by(code: str) -> str:
    """Return which operations answer this problem, and when; "-": none of them."""
    every = [each for methods in OPERATIONS.values() for each in methods.values()]
    by = [each.id for each in every if code in (*each.codes, *each.item_codes)]
    if code in CALLER and any(not each.is_open and each.id not in by for each in every):
        open_to_all = _listed(each.id for each in every if each.is_open)
        return f"{settings.API_CALLERS_ARE_ASKED}: all but {open_to_all}"
    return "all" if len(by) == len(every) else _listed(by) or "-"


def _listed(ids: Iterable[str]) -> str:
    return ", ".join(f"`{one}`" for one in ids)
