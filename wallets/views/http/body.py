"""Reads a request's body: bounded, complete, and as strict JSON.

The parsing of Django REST framework is not used: it reads an absent body as an empty
form, ignores a chunked one, and accepts ambiguous values.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from wallets.utils import strict_json
from wallets.views.problems.problem_response import RequestRefused, too_large

if TYPE_CHECKING:
    from wallets.views.http.request import Request

logger = logging.getLogger(__name__)

_JSON = re.compile(r'application/json[ \t]*(;[ \t]*charset=("?)utf-8\2[ \t]*)?', re.I)
_DIGITS = re.compile(r"[0-9]{1,18}")


class StrictJSONParser(BaseParser):
    """Declares the API's media type; the endpoints read bodies themselves."""

    media_type = "application/json"


def read_object(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object.

    :raises RequestRefused: no body, or any other body.
    """
    body = _body_of(request, settings.API_MAX_BODY_BYTES)
    if not body:
        raise RequestRefused("body_required")
    return _parse_object(request, body)


def read_array_body(request: Request) -> bytes:
    """Return the unparsed body of a request that sends an array.

    :raises RequestRefused: no body, or a media type that is not JSON.
    """
    body = _body_of(request, settings.API_MAX_BULK_BODY_BYTES)
    if not body:
        raise RequestRefused("body_required")
    _check_media_type(request)
    return body


def parse_array(body: bytes, *, most: int) -> list[Any]:
    """Return the body as a JSON array of at most `most` items.

    :raises RequestRefused: any other body, or more items.
    """
    value = _parse(body)
    if not isinstance(value, list):
        raise RequestRefused("json_invalid", "The body is not a JSON array.")
    if len(value) > most:
        raise RequestRefused("too_many_items")
    return value


def read_one_or_many(request: Request, *, most: int) -> dict[str, Any] | list[Any]:
    """Return the body: a JSON object, or a JSON array of at most `most` items.

    :raises RequestRefused: no body, any other body, an object that is larger than one
        request may be, or more items.
    """
    body = read_array_body(request)
    value = _parse(body)
    if isinstance(value, list):
        if len(value) > most:
            raise RequestRefused("too_many_items")
        return value
    if not isinstance(value, dict):
        text = "The body is neither a JSON object nor a JSON array."
        raise RequestRefused("json_invalid", text)
    if len(body) > settings.API_MAX_BODY_BYTES:
        raise too_large(settings.API_MAX_BODY_BYTES)
    return value


def read_nothing(request: Request) -> dict[str, Any]:
    """Return the object of a request without fields: no body, or `{}`.

    :raises RequestRefused: a body that is not a JSON object.
    """
    body = _body_of(request, settings.API_MAX_BODY_BYTES)
    return _parse_object(request, body) if body else {}


def _parse_object(request: Request, body: bytes) -> dict[str, Any]:
    _check_media_type(request)
    value = _parse(body)
    if not isinstance(value, dict):
        raise RequestRefused("json_invalid", "The body is not a JSON object.")
    return value


def _check_media_type(request: Request) -> None:
    if not _JSON.fullmatch(request.headers.get("content-type", "")):
        raise RequestRefused("unsupported_media_type")


def _parse(body: bytes) -> Any:
    try:
        return strict_json.loads(body)
    except strict_json.NotStrictJSON as error:
        raise RequestRefused("json_invalid", str(error)) from None


def _body_of(request: Request, limit: int) -> bytes:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestRefused("unsupported_media_type")
    return request.read_body(limit)


def read_body(request: HttpRequest, limit: int) -> bytes:
    """Read the body from a WSGI server, at most the limit and one byte.

    :raises RequestRefused: the body is longer than the limit, shorter than announced,
        or has a transfer coding that the server has not decoded.
    """
    transfer_encoding = request.META.get("HTTP_TRANSFER_ENCODING")
    if transfer_encoding is not None:
        if transfer_encoding.lower() != "chunked":
            raise RequestRefused("unsupported_media_type")
        # Django reads no body without a length. A server that decodes chunks marks the
        # end of its stream.
        if not request.META.get("wsgi.input_terminated"):
            raise RequestRefused("length_required")
        body = _read(request.META["wsgi.input"], limit + 1)
        if len(body) > limit:
            raise too_large(limit)
        return body
    length = _content_length(request)
    if length > limit:
        raise too_large(limit)
    body = _read(request, length)
    if len(body) < length:
        raise RequestRefused("body_incomplete")
    return body


def _content_length(request: HttpRequest) -> int:
    text = request.META.get("CONTENT_LENGTH") or "0"
    if not _DIGITS.fullmatch(text):
        raise RequestRefused("bad_request")
    return int(text)


def _read(stream: Any, size: int) -> bytes:
    if not size:
        return b""
    try:
        return stream.read(size)
    except Exception as error:  # noqa: BLE001 (each server has errors of its own)
        logger.info("body not readable: %s", type(error).__name__)
        raise RequestRefused("body_incomplete") from None
