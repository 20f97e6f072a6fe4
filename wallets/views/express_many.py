"""The short way for many deposits in one request, if nothing at all is wrong with it.

As with one (`views.express`), the rules are the same functions' as on the long way, and
Django sees every request that is not plain, whole.
"""

from __future__ import annotations

import io
import re
from typing import Any, NamedTuple

from django.conf import settings
from django.db import Error

from wallets.errors import LostRace
from wallets.serializers.deposit import read_plain_items
from wallets.services.deposit import MAX_MANY, DepositRequest, deposit_bulk
from wallets.utils import clock
from wallets.views import request_log
from wallets.views.deposit import TROUBLE, write_answers
from wallets.views.short_way import Fields, in_a_request, tell

PATH = "/deposits/"
_LENGTH = re.compile("[1-9][0-9]{0,8}")


class Answered(NamedTuple):
    """An answer of 200: the header fields that are its own, and its body."""

    fields: Fields
    content: bytes


def answer(environ: dict[str, Any]) -> Answered | None:
    """Make the deposits of a request to `PATH`; None where Django must see it.

    Its header fields are known to be plain.
    """
    began = clock.elapsed()
    length = environ.get("CONTENT_LENGTH", "")
    if (
        environ["REQUEST_METHOD"] != "POST"
        # As it was sent: not encoded, without a query.
        or environ.get("RAW_URI") != PATH
        or environ.get("CONTENT_TYPE") != "application/json"
        or not _LENGTH.fullmatch(length)
        or int(length) > settings.API_MAX_BULK_BODY_BYTES
    ):
        return None
    requests = _read(environ, int(length))
    if requests is None:
        return None
    with request_log.identified(environ.get("HTTP_X_REQUEST_ID", "")) as request_id:
        try:
            with in_a_request():
                content = write_answers(deposit_bulk(requests))
        except (Error, LostRace) as error:
            environ[TROUBLE] = error
            return None
        tell(PATH, began, example=PATH)
    fields = [
        ("Content-Length", str(len(content))),
        (request_log.HEADER, request_id),
    ]
    return Answered(fields, content)


def _read(environ: dict[str, Any], length: int) -> list[DepositRequest] | None:
    """The deposits that the body asks for, if it is plain. Django may read it again."""
    try:
        body = environ["wsgi.input"].read(length)
    except Exception:  # noqa: BLE001 (Django finds out what)
        return None
    environ["wsgi.input"] = io.BytesIO(body)
    items = read_plain_items(body) if len(body) == length else None
    if items is None or len(items) > MAX_MANY:
        return None
    return [DepositRequest(*item) for item in items]
