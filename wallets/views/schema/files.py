"""The documents that are made from the code: `make docs` writes them, a test compares."""

from __future__ import annotations

from drf_spectacular.renderers import OpenApiYamlRenderer

from wallets.views.problems.catalogue import PROBLEMS
from wallets.views.schema.document import document
from wallets.views.schema.operations import OPERATIONS

_HEAD = """# Problems

Every refusal and failure of the API is `application/problem+json` (RFC 9457) with one of
these codes. A code never changes its meaning; compare `code`, show `detail`. `type` is
`/problems/<code>`, a page that the service answers itself.

`errors` has an entry for each wrong field, parameter or header: `field`, `code`, `detail`.
A single one gives the problem its code; several share `invalid_request`.

<!-- Made from wallets/views/problems/catalogue.py by `make docs`. -->

| status | code | meaning | answered by |
|---|---|---|---|
"""


def openapi_yaml() -> bytes:
    """The OpenAPI document as it is committed."""
    return OpenApiYamlRenderer().render(document())


def problems_markdown() -> str:
    """The page of problems as it is committed."""
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
