"""Pages of a list, by key, with links in the Link header (RFC 8288).

A page begins after the last row of the previous one, so new rows are neither skipped
nor repeated. The cursor is signed together with the list and its filters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from django.core import signing

from wallets.services.reads.listing import Position
from wallets.utils import instants
from wallets.utils.limits import MAX_BIGINT
from wallets.views.http.request import Request
from wallets.views.problems.problem_response import FieldError, RequestRefused

DEFAULT_LIMIT = 50
# The parameters of a page; the others are filters.
PAGING = ("limit", "cursor")

Q = TypeVar("Q")  # what the service is asked for a page

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def cursor_refused() -> RequestRefused:
    """Return the refusal of a cursor that does not belong to this list and filters."""
    detail = "It is not one of this list with these filters."
    error = FieldError("cursor", "cursor_invalid", detail)
    return RequestRefused("cursor_invalid", errors=[error])


@dataclass(frozen=True)
class PageCall(Generic[Q]):
    """A requested page, and the writer of its links."""

    page: Q
    pages: Pages


class Pages:
    """The pages of one list. `parameters` are the request's, parsed.

    `limit` and `cursor` belong to the page; the others are filters, which every cursor
    and link repeats.
    """

    def __init__(self, request: Request, parameters: Mapping[str, Any]) -> None:
        self.limit: int = parameters.get("limit", DEFAULT_LIMIT)
        self._url = request.url_of(request.path)
        self._cursor = parameters.get("cursor")
        filters = urlencode(
            {
                name: _text_of(value)
                for name, value in sorted(parameters.items())
                if name not in PAGING
            }
        )
        self._signer = signing.Signer(
            sep=".", salt=f"wallets.cursor {request.path} {filters}"
        )
        limit = f"limit={self.limit}" if "limit" in parameters else ""
        self._query = _joined(filters, limit)

    def position(self, *, numbers: int) -> list[int] | None:
        """Return the position of this page: as many numbers as `links` got.

        None for the first page. The numbers are checked although they are signed,
        because a key can become known.

        :raises RequestRefused: the cursor does not belong to this list and filters.
        """
        if self._cursor is None:
            return None
        try:
            found = self._signer.unsign_object(self._cursor)
        except (signing.BadSignature, ValueError):
            raise cursor_refused() from None
        if type(found) is not list or len(found) != numbers:
            raise cursor_refused()
        if not all(type(one) is int and 0 <= one <= MAX_BIGINT for one in found):
            raise cursor_refused()
        return found

    def links(self, following: list[int] | None) -> dict[str, str]:
        """Return the Link header, with the next page if there is one."""
        links = [self._link("first")]
        if following is not None:
            cursor = self._signer.sign_object(following)
            # Its characters need no quoting.
            links.insert(0, self._link("next", f"cursor={cursor}"))
        return {"Link": ", ".join(links)}

    def _link(self, relation: str, cursor: str = "") -> str:
        query = _joined(self._query, cursor)
        return f'<{self._url}{"?" if query else ""}{query}>; rel="{relation}"'


def position_of(numbers: list[int] | None) -> Position | None:
    """Return the position of `numbers_of`; None stays None.

    :raises RequestRefused: the numbers are no position.
    """
    if numbers is None:
        return None
    microseconds, pk = numbers
    try:
        return Position(_EPOCH + timedelta(microseconds=microseconds), pk)
    except OverflowError:
        raise cursor_refused() from None


def numbers_of(position: Position | None) -> list[int] | None:
    """Return the position as numbers of a cursor; None stays None."""
    if position is None:
        return None
    since = position.created_at - _EPOCH
    return [since // timedelta(microseconds=1), position.pk]


def _text_of(value: Any) -> str:
    return instants.write(value) if isinstance(value, datetime) else str(value)


def _joined(*parts: str) -> str:
    return "&".join(part for part in parts if part)
