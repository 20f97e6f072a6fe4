"""Documents made from the code: `make docs` writes them, a test compares them."""

from __future__ import annotations

from drf_spectacular.renderers import OpenApiYamlRenderer

from wallets.views.problems.catalogue import PROBLEMS
from wallets.views.schema.document import document
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
    """Return the page of problems as it is committed."""
    operations = [each for methods in OPERATIONS.values() for each in methods.values()]
    rows = []
    for code, problem in PROBLEMS.items():
        by = [
            f"`{each.id}`"
            for each in operations
            if code in (*each.codes, *each.item_codes)
        ]
        where = "all" if len(by) == len(operations) else ", ".join(by) or "-"
        meaning = f"**{problem.title}.** {problem.explanation}"
        rows.append(f"| {problem.status} | `{code}` | {meaning} | {where} |\n")
    return _HEAD + "".join(rows)
