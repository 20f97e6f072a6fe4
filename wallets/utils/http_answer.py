"""Where an HTTP/1.1 answer ends, and what it says: bounded, and nothing guessed.

No sockets here. An answer that could be read in two ways is no answer: on a connection
that is kept, its rest would be taken for the answer to somebody else's payment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 16 * 1024

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\x00]*?)[ \t]*")
_LENGTH = re.compile(rb"[0-9]{1,15}")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[^\r\n]*)?\r\n")


class BadAnswer(ValueError):
    """Not an HTTP/1.1 answer, or one that could be read in two ways."""


@dataclass(frozen=True)
class HttpAnswer:
    """A whole answer. `body` is cut off above the limit; `keep` says that the connection
    may serve another call, `followed` that more bytes came behind the answer."""

    status: int
    media_type: str
    body: bytes
    keep: bool
    followed: bool = False


@dataclass(frozen=True)
class Head:
    """What stands before a body. `length` is None where it ends with the connection."""

    status: int
    media_type: str
    length: int | None
    chunked: bool
    keep: bool
    encoding: str = ""


def parse(received: bytes, *, ended: bool) -> HttpAnswer | None:
    """Return the answer in what was received, or None while more must come.

    `ended` says that the peer sends nothing more.

    :raises BadAnswer: when this is no answer, and nothing can make it one.
    """
    while True:
        end = received.find(b"\r\n\r\n")
        if end < 0:
            if ended or len(received) > MAX_HEAD_BYTES:
                raise BadAnswer("connection closed" if ended else "head too long")
            return None
        head = parse_head(received[:end])
        received = received[end + 4 :]
        if head.status >= 200:
            return _parse_body(head, received, ended)
        if head.status == 101:
            raise BadAnswer("another protocol, which nobody asked for")


def parse_head(head: bytes) -> Head:
    """Read status line and headers, without the empty line behind them.

    :raises BadAnswer: they are malformed, or can be read in two ways.
    """
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise BadAnswer("no status line")
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise BadAnswer("a malformed header")
        headers.setdefault(header[1].lower(), []).append(header[2])
    lengths = set(headers.get(b"content-length", []))
    encodings = [value.lower() for value in headers.get(b"transfer-encoding", [])]
    if (
        len(lengths) > 1
        or (lengths and encodings)
        or encodings not in ([], [b"chunked"])
    ):
        raise BadAnswer("its length can be read in two ways")
    length = lengths.pop() if lengths else None
    if length is not None and not _LENGTH.fullmatch(length):
        raise BadAnswer("a malformed length")
    empty = status[2] in (b"204", b"304")
    closes = b"close" in b",".join(headers.get(b"connection", [])).lower()
    return Head(
        status=int(status[2]),
        media_type=_media_type(headers.get(b"content-type", [])),
        length=0 if empty else int(length) if length else None,
        chunked=bool(encodings),
        keep=status[1] == b"1" and not closes,
        encoding=b",".join(headers.get(b"content-encoding", []))
        .lower()
        .decode("latin-1"),
    )


def _media_type(values: list[bytes]) -> str:
    """The one media type, without parameters; empty when there is none, or two."""
    value = values[0] if len(values) == 1 else b""
    return value.partition(b";")[0].strip().lower().decode("latin-1")


def _parse_body(head: Head, rest: bytes, ended: bool) -> HttpAnswer | None:
    if head.chunked:
        body, end = _join_chunks(rest)
    else:
        body, end = rest[: head.length], head.length
    if len(body) > MAX_BODY_BYTES:
        body = body[: MAX_BODY_BYTES + 1]
        return HttpAnswer(head.status, head.media_type, body, keep=False)
    if end is None or len(rest) < end:
        if not ended:
            return None
        if head.chunked or head.length is not None:
            raise BadAnswer("connection closed before the end")
        return HttpAnswer(head.status, head.media_type, body, keep=False)
    # What has bytes left over is not used again.
    followed = len(rest) > end
    keep = head.keep and not followed
    return HttpAnswer(head.status, head.media_type, body, keep, followed)


def _join_chunks(rest: bytes) -> tuple[bytes, int | None]:
    """Return the body so far, and where it ends if that is known already."""
    body, at = b"", 0
    while len(body) <= MAX_BODY_BYTES:
        size = CHUNK.match(rest, at)
        if size is None:
            if b"\r\n" in rest[at:] or len(rest) - at > MAX_HEAD_BYTES:
                raise BadAnswer("a malformed chunk")
            return body, None
        length = int(size[1], 16)
        if length == 0:
            return body, end_of_trailers(rest, size.end())
        start, end = size.end(), size.end() + length
        body += rest[start:end]
        if len(rest) < end + 2:
            return body, None
        if rest[end : end + 2] != b"\r\n":
            raise BadAnswer("a malformed chunk")
        at = end + 2
    return body, None


def end_of_trailers(rest: bytes, at: int) -> int | None:
    """Where the lines behind the last chunk end, or None while more must come.

    :raises BadAnswer: they are too long.
    """
    if rest[at : at + 2] == b"\r\n":
        return at + 2
    end = rest.find(b"\r\n\r\n", at)
    if end < 0 and len(rest) - at > MAX_HEAD_BYTES:
        raise BadAnswer("trailers too long")
    return end + 4 if end >= 0 else None
