"""Checks the head of a request: ambiguous heads are refused.

Most servers refuse most of these; no server refuses all of them.
"""

from __future__ import annotations

from wallets.asgi.refusals import Refused
from wallets.asgi.types import Scope
from wallets.views.http.idempotency_key import resembles_key

MAX_LINE_BYTES = 4094
MAX_FIELDS = 100
MAX_FIELD_BYTES = 8190
# Between name and value, and at the end of the line.
_SEPARATORS = 4
# Two spaces and `HTTP/1.1`.
_REST_OF_LINE = 10
# The fields that decide how the request is framed.
_JUDGED = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


def check(scope: Scope) -> tuple[int | None, Scope]:
    """Return the announced length of the body in bytes, and the scope to go on with.

    The length is None if the body is chunked. The scope lacks fields whose names contain
    an underscore. WSGI maps `X-Forwarded-For` and `X_Forwarded_For` to the same variable,
    so a client could replace a field of a proxy. What looks like an idempotency key
    stays, because `views.http.idempotency_key` refuses it.

    :raises Refused: the head is too long or ambiguous.
    """
    fields = scope["headers"]
    path = scope.get("raw_path") or scope["path"].encode()
    length = len(scope["method"]) + len(path) + len(scope["query_string"])
    if length + _REST_OF_LINE > MAX_LINE_BYTES:
        raise Refused("uri_too_long")
    if len(fields) > MAX_FIELDS:
        raise Refused("headers_too_large")
    judged: dict[bytes, list[bytes]] = {}
    dropped = False
    for name, value in fields:
        if len(name) + len(value) + _SEPARATORS > MAX_FIELD_BYTES:
            raise Refused("headers_too_large")
        if name in _JUDGED:
            judged.setdefault(name, []).append(value)
        elif b"_" in name and _is_dropped(name):
            dropped = True
    method = scope["method"]
    if not (method.isascii() and method.isupper() and path.isascii()):
        raise Refused("bad_request")
    if dropped:
        kept = [field for field in fields if not _is_dropped(field[0])]
        scope = {**scope, "headers": kept}
    return _framing(scope["http_version"], judged), scope


def _framing(version: str, judged: dict[bytes, list[bytes]]) -> int | None:
    hosts = judged.get(b"host", [])
    # Some servers add an empty Host if there was none.
    if len(hosts) > 1 or (not any(hosts) and version != "1.0"):
        raise Refused("bad_request")
    expected = [value.lower() for value in judged.get(b"expect", [])]
    if expected not in ([], [b"100-continue"]):
        raise Refused("bad_request")
    lengths = judged.get(b"content-length", [])
    codings = judged.get(b"transfer-encoding")
    if codings is not None:
        plain = len(codings) == 1 and codings[0].lower() == b"chunked"
        if not plain or lengths or version == "1.0":
            raise Refused("bad_request")
        return None
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        raise Refused("bad_request")
    return int(lengths[0]) if lengths else 0


def _is_dropped(name: bytes) -> bool:
    return b"_" in name and not resembles_key(name.decode("latin-1"))
