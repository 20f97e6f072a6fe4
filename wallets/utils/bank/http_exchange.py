"""One HTTP/1.1 request and its answer, framed by h11: bounded and unambiguous.

No network here. An ambiguous answer is refused: on a kept connection its rest could be
taken for the answer to the next payment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import h11

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 16 * 1024
REFERENCE = b"{reference}"


class BadAnswer(ValueError):
    """Not an HTTP/1.1 answer, or an ambiguous one."""


@dataclass(frozen=True)
class HttpAnswer:
    """A complete answer; `body` is cut off above the limit.

    `keep`: the connection may be used again. `followed`: bytes came after the answer.
    `reused`: the connection has served another call before.
    """

    status: int
    media_type: str
    body: bytes
    keep: bool
    followed: bool = False
    reused: bool = False
    encoding: str = ""
    # As it was sent; empty when there is none, or two.
    retry_after: str = ""


def request(
    method: str, target: str, headers: Iterable[tuple[str, str]], length: int
) -> h11.Request:
    """Return the head of a request whose content has `length` bytes; it can be reused.

    `REFERENCE` in it is replaced for each request.
    """
    fields = [*headers, ("Content-Length", str(length))]
    return h11.Request(method=method, target=target, headers=fields)


class Exchange:
    """A request and the bytes of its answer.

    `message` is the whole request, to be sent in one piece. The answer is complete when
    its body exceeds `limit` bytes: it is then cut off after `limit` + 1.
    """

    def __init__(
        self,
        head: h11.Request,
        content: bytes = b"",
        *,
        reference: str = "",
        limit: int = MAX_BODY_BYTES,
    ) -> None:
        self._limit = limit
        self._body = bytearray()
        self._http = h11.Connection(
            h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES
        )
        # Content with a length needs no framing: h11 only writes the head.
        framed = self._http.send(head) or b""
        self.message = framed.replace(REFERENCE, reference.encode("ascii")) + content

    def feed(self, data: bytes) -> HttpAnswer | None:
        """Process the next bytes; return the answer when it is complete.

        No bytes: the peer's end.

        :raises BadAnswer: this is not a valid answer and cannot become one.
        """
        try:
            self._http.receive_data(data)
            return self._read()
        except h11.RemoteProtocolError as error:
            raise BadAnswer(str(error)) from error

    def _read(self) -> HttpAnswer | None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                self._status, self._headers = event.status_code, list(event.headers)
                if self._all(b"content-length") and self._all(b"transfer-encoding"):
                    raise BadAnswer("its length can be read in two ways")
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._limit:
                    return self._answer()
            elif isinstance(event, h11.EndOfMessage):
                return self._answer()
            elif event is h11.NEED_DATA:
                return None

    def _answer(self) -> HttpAnswer:
        """Return the answer. A connection with bytes left over is not used again."""
        followed, ended = self._http.trailing_data
        whole = self._http.their_state is h11.DONE
        kind = self._one(b"content-type")
        return HttpAnswer(
            status=self._status,
            # Without parameters; empty when there is none, or two.
            media_type=kind.partition(b";")[0].strip().lower().decode("latin-1"),
            body=bytes(self._body[: self._limit + 1]),
            keep=whole and not followed and not ended,
            followed=bool(followed),
            encoding=b",".join(self._all(b"content-encoding"))
            .lower()
            .decode("latin-1"),
            retry_after=self._one(b"retry-after").decode("latin-1"),
        )

    def _one(self, name: bytes) -> bytes:
        """Return the value of a header that was sent once; else nothing."""
        values = self._all(name)
        return values[0] if len(values) == 1 else b""

    def _all(self, name: bytes) -> list[bytes]:
        """Return the values of all headers with this (lower-case) name."""
        return [value for key, value in self._headers if key == name]
