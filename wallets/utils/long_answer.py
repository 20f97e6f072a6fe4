"""A long HTTP answer, put together piece by piece, to a limit. No sockets here.

The short answers of payments are read whole by `http_answer.parse`; this reads a list as
strictly, without looking again at what it has read already.
"""

from __future__ import annotations

from wallets.utils import http_answer
from wallets.utils.http_answer import BadAnswer, Head


class LongAnswer:
    """What has come so far. `body` is `limit` bytes at most; more is an error."""

    def __init__(self, limit: int) -> None:
        self.body = bytearray()
        self._limit = limit
        self._head: Head | None = None
        self._rest = bytearray()  # what has come and is not read yet
        self._chunk = 0  # bytes that are still to come of this chunk
        self._between = True  # two chunks: a size comes next
        self._last = False  # the chunk without bytes has come

    @property
    def head(self) -> Head:
        """Status and headers, once they have come whole.

        :raises BadAnswer: they have not.
        """
        if self._head is None:
            raise BadAnswer("no head")
        return self._head

    def feed(self, data: bytes) -> bool:
        """Take the next bytes, none for the peer's end; return whether it is whole.

        :raises BadAnswer: it is no answer, or longer than the limit.
        """
        self._rest += data
        self._head = self._head or self._read_head()
        whole = self._head is not None and self._read_body(self._head, ended=not data)
        if not data and not whole:
            raise BadAnswer("connection closed before the end")
        return whole

    def _read_head(self) -> Head | None:
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head = http_answer.parse_head(bytes(self._rest[:end]))
            del self._rest[: end + 4]
            if head.status >= 200:
                return head
            if head.status == 101:
                raise BadAnswer("another protocol, which nobody asked for")
        if len(self._rest) > http_answer.MAX_HEAD_BYTES:
            raise BadAnswer("head too long")
        return None

    def _read_body(self, head: Head, *, ended: bool) -> bool:
        if head.chunked:
            return self._read_chunks()
        if head.length is None:
            self._take(len(self._rest))
            return ended
        if head.length > self._limit:
            raise self._too_long()
        self._take(head.length - len(self.body))
        return len(self.body) == head.length

    def _read_chunks(self) -> bool:
        while not self._last:
            if self._between:
                if not self._read_size():
                    return False
                continue
            self._chunk -= self._take(self._chunk)
            if self._chunk or len(self._rest) < 2:
                return False
            if self._rest[:2] != b"\r\n":
                raise BadAnswer("a malformed chunk")
            del self._rest[:2]
            self._between = True
        return http_answer.end_of_trailers(bytes(self._rest), 0) is not None

    def _read_size(self) -> bool:
        found = http_answer.CHUNK.match(self._rest)
        if found is None:
            if b"\r\n" in self._rest or len(self._rest) > http_answer.MAX_HEAD_BYTES:
                raise BadAnswer("a malformed chunk")
            return False
        self._chunk, self._between = int(found[1], 16), False
        self._last = self._chunk == 0
        del self._rest[: found.end()]
        return True

    def _take(self, count: int) -> int:
        """Move so many bytes at most to the body; return how many there were."""
        taken = self._rest[:count]
        if len(self.body) + len(taken) > self._limit:
            raise self._too_long()
        self.body += taken
        del self._rest[: len(taken)]
        return len(taken)

    def _too_long(self) -> BadAnswer:
        return BadAnswer(f"it is longer than {self._limit} bytes")
