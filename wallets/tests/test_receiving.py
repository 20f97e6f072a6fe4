"""When a request has come whole: a thread must never wait for the rest of it."""

from __future__ import annotations

from django.conf import settings
from django.test import SimpleTestCase
from gunicorn.http import errors

from wallet.receiving import BODY_BYTES, HEAD_BYTES, BodyTooLarge, Received

HEAD = b"POST /wallets/ HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def received(data: bytes) -> Received:
    request = Received()
    request.add(data)
    return request


class ReceivedTest(SimpleTestCase):
    def test_is_whole_with_its_last_byte_and_not_before(self) -> None:
        for name, data in (
            ("no body", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("a length", HEAD + b"content-LENGTH: \t5 \r\n\r\n12345"),
            ("no byte of a body", HEAD + b"Content-Length: 0\r\n\r\n"),
            ("chunks", CHUNKED + b"3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n"),
            ("a chunk like the end", CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
            ("trailers", CHUNKED + b"1\r\na\r\n0\r\nX-A: b\r\n\r\n"),
        ):
            with self.subTest(name):
                request = Received()
                for byte in data[:-1]:
                    request.add(bytes([byte]))
                    self.assertFalse(request.is_whole(), bytes(request.data))
                request.add(data[-1:])
                self.assertTrue(request.is_whole())
                self.assertTrue(received(data).is_whole())
                self.assertTrue(received(data + b"GET").is_whole())

    def test_skips_empty_lines_as_a_parser_does(self) -> None:
        """It would take them for a head, and a thread would wait for the request."""
        self.assertFalse(received(b"\r\n\r\n\r\n").is_whole())
        self.assertFalse(received(b"\r\n\r\nGET / HTTP/1.1\r\n").is_whole())

    def test_leaves_to_the_parser_what_no_parser_takes(self) -> None:
        for fields in (
            b"Content-Length: 1e3",
            b"Content-Length: -1",
            b"Content-Length: 12\r\nContent-Length: 13",
            b"Content-Length: 9\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: xchunked",
            b"no colon",
        ):
            with self.subTest(fields):
                self.assertTrue(received(HEAD + fields + b"\r\n\r\n").is_whole())
        for chunk in (b"-1\r\n", b"g\r\n", b"\r\n", b"1" * 300):
            self.assertTrue(received(CHUNKED + chunk).is_whole(), chunk)

    def test_refuses_what_is_too_much_before_it_has_come(self) -> None:
        length = b"Content-Length: %d\r\n\r\n"
        for problem, data in (
            (errors.LimitRequestLine, b"GET /" + b"a" * 9000),
            (errors.LimitRequestHeaders, HEAD + b"X-A: b\r\n" * (HEAD_BYTES // 8)),
            (BodyTooLarge, HEAD + length % (BODY_BYTES + 1)),
            (BodyTooLarge, HEAD + length % 10**30),
            (BodyTooLarge, CHUNKED + b"%x\r\n" % (BODY_BYTES + 1)),
            (BodyTooLarge, CHUNKED + b"1\r\na\r\n" * (BODY_BYTES // 6 + 1)),
        ):
            with self.subTest(data[:60]), self.assertRaises(problem):
                received(data).is_whole()

    def test_waits_for_the_longest_body_that_the_api_takes(self) -> None:
        for most in (settings.API_MAX_BULK_BODY_BYTES, settings.PAGE_MAX_BODY_BYTES):
            self.assertLess(most, BODY_BYTES)

    def test_knows_who_waits_for_a_word(self) -> None:
        head = HEAD + b"Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n"
        request = received(head)
        self.assertFalse(request.is_whole())
        self.assertTrue(request.expects)
