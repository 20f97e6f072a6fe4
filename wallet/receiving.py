"""Whether a whole request has come: no thread waits for bytes that a client may not send."""

from __future__ import annotations

import re

from gunicorn.http import errors

# More than the longest request of this API: `API_MAX_BULK_BODY_BYTES`, and chunks' sizes.
BODY_BYTES = 320 * 1024
HEAD_BYTES = 64 * 1024
# gunicorn's own limit is a little less: what is in between it refuses itself.
LINE_BYTES = 8192

_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_CHUNK_LINE_BYTES = 256


class BodyTooLarge(Exception):
    """The body is larger than that of any request."""


class Received:
    """What a connection has sent of its next request.

    Says when the bytes can be read, never what they mean: the server's parser does that,
    with the same bytes. So what no parser takes counts as whole: it is refused at once.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        # Whether the client waits for a word before he sends the body (RFC 9110, 10.1.1).
        self.expects = False
        self._searched = 0
        # Where the body begins, and where it ends if its length was announced.
        self._body_at = 0
        self._ends_at = 0
        self._is_chunked = False

    def add(self, data: bytes) -> None:
        """So much has come."""
        self.data += data
        if not self._body_at:
            while self.data.startswith(b"\r\n"):  # parsers skip empty lines
                del self.data[:2]

    @property
    def has_head(self) -> bool:
        return self._body_at > 0

    def is_whole(self) -> bool:
        """Whether a parser would read one request without waiting.

        :raises LimitRequestLine, LimitRequestHeaders, BodyTooLarge: when it never will.
        """
        if not self._body_at and not self._finds_head():
            return False
        if self._is_chunked:
            return self._has_last_chunk()
        return len(self.data) >= self._ends_at

    def _finds_head(self) -> bool:
        end = self.data.find(b"\r\n\r\n", self._searched)
        if end < 0:
            self._searched = max(len(self.data) - 3, 0)
            if self.data.find(b"\r\n", 0, LINE_BYTES) < 0 < len(self.data) - LINE_BYTES:
                raise errors.LimitRequestLine(len(self.data), LINE_BYTES)
            if len(self.data) > HEAD_BYTES:
                raise errors.LimitRequestHeaders("the head is too large")
            return False
        self._body_at = self._ends_at = self._searched = end + 4
        lines = bytes(self.data[:end]).split(b"\r\n")[1:]
        fields = [line.lower().partition(b":") for line in lines]
        values: dict[bytes, list[bytes]] = {}
        for name, _, value in fields:
            values.setdefault(name, []).append(value.strip(b" \t"))
        self.expects = values.get(b"expect") == [b"100-continue"]
        lengths = values.get(b"content-length", [])
        codings = values.get(b"transfer-encoding", [])
        if len(lengths + codings) != 1:
            return True  # no body, or no request that a parser takes
        if lengths and lengths[0].isdigit():
            # Of endless digits the first ones are too many already.
            self._ends_at += int(lengths[0][:20])
            self._refuses_more_than(self._ends_at)
        elif codings:
            self._is_chunked = codings[0].split(b",")[-1].strip() == b"chunked"
        return True

    def _has_last_chunk(self) -> bool:
        """Go on from chunk to chunk: `_searched` is where the next one begins."""
        while True:
            at = self._searched
            end = self.data.find(b"\r\n", at, at + _CHUNK_LINE_BYTES)
            if end < 0:
                return len(self.data) - at >= _CHUNK_LINE_BYTES
            size = bytes(self.data[at:end]).partition(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size):
                return True
            if not int(size, 16):
                self._refuses_more_than(len(self.data))
                return self.data.find(b"\r\n\r\n", end) >= 0
            after = end + 2 + int(size, 16) + 2
            self._refuses_more_than(after)
            if after > len(self.data):
                return False
            self._searched = after

    def _refuses_more_than(self, end: int) -> None:
        if end - self._body_at > BODY_BYTES:
            raise BodyTooLarge
