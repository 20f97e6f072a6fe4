"""The end of an HTTP answer, whatever its pieces are and whatever is mixed into it."""

from __future__ import annotations

from django.test import SimpleTestCase
from hypothesis import given, settings
from hypothesis import strategies as st

from wallets.tests import marks
from wallets.utils.bank import http_exchange
from wallets.utils.bank.http_exchange import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    BadAnswer,
    Exchange,
    HttpAnswer,
)

JSON = b"Content-Type: application/json\r\n"
HEAD = b"HTTP/1.1 200 OK\r\n" + JSON
BODY = b'{"data": "success", "status": 200}'
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

GET = http_exchange.request("GET", "/", [("Host", "bank")], 0)

# Repeatable, and as many examples as a fast suite allows.
fuzz = settings(derandomize=True, deadline=None, max_examples=300, database=None)
bodies = st.binary(max_size=200)


def parse(data: bytes, *, ended: bool) -> HttpAnswer | None:
    """Parse the bytes as an answer, perhaps followed by the end of the connection."""
    exchange = Exchange(GET)
    answer = exchange.feed(data) if data else None
    if answer is None and ended:
        answer = exchange.feed(b"")
    return answer


def with_length(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


@st.composite
def in_chunks(draw) -> tuple[bytes, bytes]:
    """Draw a body, and an answer that has it in chunks."""
    parts = draw(st.lists(st.binary(min_size=1, max_size=60), max_size=5))
    extension = draw(st.sampled_from([b"", b";name=value"]))
    trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in parts)
    return b"".join(parts), CHUNKED + chunks + b"0\r\n" + trailer + b"\r\n"


class WholeAnswerTest(SimpleTestCase):
    @fuzz
    @given(bodies)
    def test_is_found_by_its_length(self, body):
        answer = parse(with_length(body), ended=False)
        self.assertEqual(answer, HttpAnswer(200, "application/json", body, keep=True))

    @marks.slow
    @fuzz
    @given(in_chunks())
    def test_is_found_by_its_last_chunk(self, made):
        body, data = made
        answer = parse(data, ended=False)
        self.assertEqual(answer, HttpAnswer(200, "application/json", body, keep=True))

    def test_without_a_length_ends_with_the_connection(self):
        data = HEAD + b"\r\n" + BODY
        self.assertIsNone(parse(data, ended=False))
        answer = parse(data, ended=True)
        self.assertEqual((answer.body, answer.keep), (BODY, False))

    @marks.slow
    @fuzz
    @given(st.lists(st.sampled_from([100, 102, 103, 199]), max_size=5))
    def test_comes_after_any_interim_ones(self, codes):
        interim = b"".join(b"HTTP/1.1 %d X\r\nLink: y\r\n\r\n" % code for code in codes)
        answer = parse(interim + WHOLE, ended=False)
        self.assertEqual((answer.status, answer.body, answer.keep), (200, BODY, True))
        self.assertIsNone(parse(interim, ended=False))


class PartTest(SimpleTestCase):
    @marks.slow
    @fuzz
    @given(in_chunks(), st.data())
    def test_of_an_answer_is_none_yet_and_none_at_the_end(self, made, data):
        _, answer = made
        for whole in (answer, WHOLE):
            part = whole[: data.draw(st.integers(0, len(whole) - 1))]
            self.assertIsNone(parse(part, ended=False))
            with self.assertRaises(BadAnswer):
                parse(part, ended=True)


class PieceTest(SimpleTestCase):
    @marks.slow
    @fuzz
    @given(in_chunks(), st.integers(1, 40))
    def test_makes_the_whole_with_the_others_however_it_is_cut(self, made, size):
        for whole in (made[1], WHOLE):
            exchange, answers = Exchange(GET), []
            for at in range(0, len(whole), size):
                answers.append(exchange.feed(whole[at : at + size]))
            self.assertEqual(answers.pop(), parse(whole, ended=False))
            self.assertFalse(any(answers))


class ConnectionTest(SimpleTestCase):
    """A connection that may not serve another call…"""

    @marks.slow
    @fuzz
    @given(in_chunks(), st.binary(min_size=1, max_size=50))
    def test_is_not_kept_with_bytes_left_over(self, made, rest):
        body, data = made
        for whole, expected in ((data, body), (WHOLE, BODY)):
            answer = parse(whole + rest, ended=False)
            self.assertEqual((answer.body, answer.keep), (expected, False))

    def test_is_not_kept_when_the_server_closes_it(self):
        for head in (
            b"HTTP/1.0 200 OK\r\n" + JSON,
            HEAD + b"Connection: close\r\n",
            HEAD + b"connection: Keep-Alive, CLOSE\r\n",
        ):
            answer = parse(head + b"Content-Length: 2\r\n\r\n{}", ended=False)
            self.assertEqual((answer.body, answer.keep), (b"{}", False))

    def test_is_not_kept_after_a_body_where_none_belongs(self):
        for status in (b"204 No Content", b"304 Not Modified"):
            data = b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}"
            self.assertFalse(parse(data, ended=False).keep)


class AmbiguousAnswerTest(SimpleTestCase):
    """An answer that two parsers could read differently counts as none."""

    def test_is_refused(self):
        for name, head in {
            "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n",
            "a list of lengths": b"Content-Length: 2, 3\r\n",
            "length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "two codings": b"Transfer-Encoding: gzip, chunked\r\n",
            "an unknown coding": b"Transfer-Encoding: identity\r\n",
            "chunked twice": b"Transfer-Encoding: chunked\r\n" * 2,
            "a signed length": b"Content-Length: +2\r\n",
            "a negative length": b"Content-Length: -2\r\n",
            "a hexadecimal length": b"Content-Length: 0x2\r\n",
            "no length": b"Content-Length: \r\n",
            "an endless length": b"Content-Length: 9999999999999999999999\r\n",
            "a folded length": b"Content-Length: 2\r\n 3\r\n",
            "a space before the colon": b"Content-Length : 2\r\n",
            "a header without a name": b": 2\r\n",
            "a header without a colon": b"Content-Length 2\r\n",
            "a bare carriage return": b"X: a\rContent-Length: 9\r\n",
            "a bare line feed": b"X: a\nContent-Length: 9\r\n",
            "a null": b"X: a\x00b\r\n",
        }.items():
            with self.subTest(name), self.assertRaises(BadAnswer):
                parse(HEAD + head + b"\r\n{}", ended=True)

    def test_is_refused_where_its_length_and_its_chunks_agree(self):
        both = HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
        with self.assertRaises(BadAnswer):
            parse(both + b"2\r\n{}\r\n0\r\n\r\n", ended=False)

    def test_is_refused_by_its_first_line(self):
        for line in (
            b"HTTP/2 200 OK",
            b"http/1.1 200 OK",
            b"HTTP/1.1 020 OK",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.1 200OK",
            b"HTTP/1.1  200 OK",
            b" HTTP/1.1 200 OK",
            b"ICY 200 OK",
            b"",
        ):
            data = line + b"\r\nContent-Length: 2\r\n\r\n{}"
            with self.subTest(line), self.assertRaises(BadAnswer):
                parse(data, ended=False)

    def test_is_refused_by_its_chunks(self):
        for chunks in (
            b"g\r\n",
            b"-1\r\n",
            b"0x2\r\n{}\r\n0\r\n\r\n",
            b"2\r\n{}0\r\n\r\n",
            b"2\r\n{}xx0\r\n\r\n",
            b" 2\r\n{}\r\n0\r\n\r\n",
            b"1" * 21 + b"\r\n",
            b"\r\n",
        ):
            with self.subTest(chunks), self.assertRaises(BadAnswer):
                parse(CHUNKED + chunks, ended=False)

    def test_is_refused_when_it_changes_the_protocol(self):
        with self.assertRaises(BadAnswer):
            parse(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", ended=False)


class BoundTest(SimpleTestCase):
    def test_of_the_head(self):
        with self.assertRaises(BadAnswer):
            parse(HEAD + b"X: " + b"a" * MAX_HEAD_BYTES, ended=False)

    def test_of_the_body(self):
        """A longer body is truncated, and its connection is not kept."""
        long = b" " * (MAX_BODY_BYTES + 10)
        for data in (
            with_length(long),
            HEAD + b"\r\n" + long,
            CHUNKED + b"%x\r\n%s\r\n" % (len(long), long),
        ):
            answer = parse(data, ended=False)
            self.assertEqual(len(answer.body), MAX_BODY_BYTES + 1)
            self.assertFalse(answer.keep)

    def test_of_chunk_lines_and_trailers(self):
        for tail in (b"2;" + b"a" * MAX_HEAD_BYTES, b"0\r\n" + b"a" * MAX_HEAD_BYTES):
            with self.assertRaises(BadAnswer):
                parse(CHUNKED + tail + b"aa", ended=False)


@marks.slow
class AnyBytesTest(SimpleTestCase):
    """Any bytes are an answer, part of one, or `BadAnswer`; never another error."""

    def check(self, data: bytes) -> None:
        for ended in (False, True):
            try:
                answer = parse(data, ended=ended)
            except BadAnswer:
                continue
            if ended:
                self.assertIsNotNone(answer)

    @fuzz
    @given(st.binary(max_size=300))
    def test_are_read_or_refused(self, data):
        self.check(data)

    @fuzz
    @given(st.binary(max_size=120), st.binary(max_size=120))
    def test_are_read_or_refused_behind_a_good_beginning(self, header, body):
        self.check(HEAD + header + b"\r\n\r\n" + body)
        self.check(CHUNKED + body)

    @fuzz
    @given(in_chunks(), st.data())
    def test_are_read_or_refused_with_one_byte_changed(self, made, data):
        _, answer = made
        place = data.draw(st.integers(0, len(answer) - 1))
        byte = data.draw(st.binary(min_size=1, max_size=1))
        self.check(answer[:place] + byte + answer[place + 1 :])


class RequestTest(SimpleTestCase):
    def test_is_one_piece_with_its_own_reference(self):
        headers = [("Host", "bank"), ("Idempotency-Key", "{reference}")]
        head = http_exchange.request("POST", "/{reference}", headers, 5)
        for reference in ("one", "two"):
            self.assertEqual(
                Exchange(head, b"hello", reference=reference).message,
                b"POST /%s HTTP/1.1\r\nHost: bank\r\nIdempotency-Key: %s\r\n"
                b"Content-Length: 5\r\n\r\nhello" % ((reference.encode(),) * 2),
            )
