"""The API with requests in the form of a WSGI server.

Django's test client builds other requests. Here the environment is that of a server.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.servers.basehttp import get_internal_wsgi_application
from django.test import SimpleTestCase

from wallets.tests import marks
from wallets.tests.api import Api, call_wsgi, keep_connection, nothing_written
from wallets.tests.base import WalletTestCase


class ServerTest(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        keep_connection(self)

    def send(
        self,
        path: str = "",
        body: bytes = b"",
        wsgi_input: io.BytesIO | None = None,
        **environ: Any,
    ) -> tuple[str, dict[str, str], Any]:
        """Call the application; return the status line, the headers and the JSON."""
        status, headers, text = call_wsgi(
            get_internal_wsgi_application(),  # its name in settings and servers
            path or self.path("deposit"),
            body,
            wsgi_input=wsgi_input,
            **environ,
        )
        return status, headers, json.loads(text) if text else None

    def chunked(self, stream: io.BytesIO, **environ: Any) -> tuple[str, str]:
        options = {
            "CONTENT_LENGTH": None,
            "HTTP_TRANSFER_ENCODING": "chunked",
            "wsgi.input_terminated": True,
        }
        status, _, answer = self.send(wsgi_input=stream, **(options | environ))
        return status[:3], answer.get("code", "")

    def test_takes_a_chunked_body(self) -> None:
        stream = io.BytesIO(b'{"amount": 5}')
        self.assertEqual(self.chunked(stream), ("200", ""))
        self.assert_money(self.alice, balance=5)

    def test_reads_no_more_of_a_chunked_body_than_it_takes(self) -> None:
        """Row 26 of the bad inputs: an endless body."""

        class Endless(io.BytesIO):
            read_so_far = 0

            def read(self, size: int | None = -1) -> bytes:
                self.read_so_far += size or 0
                return b" " * (size or 0)

        stream = Endless()
        with nothing_written():
            found = self.chunked(stream)
        self.assertEqual(found, ("413", "content_too_large"))
        self.assertEqual(stream.read_so_far, settings.API_MAX_BODY_BYTES + 1)

    def test_reads_nothing_of_a_body_announced_too_large(self) -> None:
        class Unread(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise AssertionError("the body was read")

        for length in (settings.API_MAX_BODY_BYTES + 1, 2**30, 10**17):
            with nothing_written():
                status, _, answer = self.send(
                    wsgi_input=Unread(), CONTENT_LENGTH=str(length)
                )
            self.assertEqual((status[:3], answer["code"]), ("413", "content_too_large"))

    def test_refuses_chunks_that_the_server_does_not_decode(self) -> None:
        found = self.chunked(io.BytesIO(b""), **{"wsgi.input_terminated": False})
        self.assertEqual(found, ("411", "length_required"))

    def test_refuses_encoded_chunks(self) -> None:
        for coding in ("gzip, chunked", "gzip", "identity", ""):
            with self.subTest(coding=coding), nothing_written():
                found = self.chunked(
                    io.BytesIO(b'{"amount": 5}'), HTTP_TRANSFER_ENCODING=coding
                )
                self.assertEqual(found, ("415", "unsupported_media_type"))

    def test_refuses_a_body_that_breaks_off(self) -> None:
        """Row 74: an incomplete body is refused, even if it is complete JSON."""

        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise OSError("connection reset")

        with nothing_written():
            status, _, answer = self.send(body=b'{"amount": 5}', CONTENT_LENGTH="14")
            self.assertEqual((status[:3], answer["code"]), ("400", "body_incomplete"))
            self.assertEqual(self.chunked(Broken()), ("400", "body_incomplete"))
            status, _, answer = self.send(wsgi_input=Broken(), CONTENT_LENGTH="5")
            self.assertEqual((status[:3], answer["code"]), ("400", "body_incomplete"))

    def test_refuses_a_length_that_is_no_number(self) -> None:
        for length in ("-5", "+5", "5.0", "abc", "\uff15", "9" * 5000, " 5"):
            with self.subTest(length=length[:20]), nothing_written():
                status, _, answer = self.send(CONTENT_LENGTH=length)
                self.assertEqual((status[:3], answer["code"]), ("400", "bad_request"))

    def test_refuses_charsets_that_raise_errors_in_django(self) -> None:
        """Row 19: Django's own error handling does not catch these."""
        for parameter in (
            "charset=zlib",
            "charset=hex",
            "charset=rot13",
            "charset=idna",
            "charset=unknown",
            "charset=\xe9",
            "charset*=bogus''utf-8",
            "x*=bogus''y",
            "charset=" + "x" * 5000,
        ):
            content_type = f"application/json; {parameter}"
            with self.subTest(parameter=parameter[:20]), nothing_written():
                status, _, answer = self.send(
                    self.path("deposit?format=%31"),
                    b'{"amount": 5}',
                    CONTENT_TYPE=content_type,
                )
                self.assertEqual(
                    (status[:3], answer["code"]), ("415", "unsupported_media_type")
                )
            status, _, answer = self.send(
                self.path("transactions/?limit=%31"),
                CONTENT_TYPE=content_type,
                REQUEST_METHOD="GET",
            )
            self.assertEqual((status[:3], answer), ("200", []))

    def test_refuses_a_thousand_parameters_with_a_charset(self) -> None:
        status, _, answer = self.send(
            self.path("deposit?" + "a&" * 1001),
            CONTENT_TYPE="application/json; charset=utf-8",
        )
        self.assertEqual((status[:3], answer["code"]), ("400", "bad_request"))

    def test_does_not_read_an_encoded_slash_as_a_slash(self) -> None:
        """Row 70 of the bad inputs."""
        for raw in (
            "/wallets%2F",
            f"/wallets/{self.alice.uuid}%2fdeposit",
            f"/wallets/{self.alice.uuid}/deposit%2F?a=1",
        ):
            with self.subTest(raw=raw), nothing_written():
                path = raw.replace("%2F", "/").replace("%2f", "/")
                status, _, answer = self.send(path, b'{"amount": 1}', RAW_URI=raw)
                self.assertEqual((status[:3], answer["code"]), ("404", "not_found"))

    def test_answers_probes_that_ask_by_address(self) -> None:
        """Health checks of containers, orchestrators and Prometheus do so."""
        by_address = {"REQUEST_METHOD": "GET", "HTTP_HOST": "10.1.2.3:8000"}
        for path in ("/healthz", "/readyz"):
            status, _, answer = self.send(path, **by_address)
            self.assertEqual(status, "200 OK", answer)
        _, _, answer = self.send(self.path(), **by_address)
        self.assertEqual(answer["code"], "bad_request")

    def test_refuses_http_1_1_without_a_host(self) -> None:
        for host in (None, ""):
            with nothing_written():
                status, _, answer = self.send(
                    body=b'{"amount": 5}', HTTP_HOST=host, SERVER_PROTOCOL="HTTP/1.1"
                )
            self.assertEqual((status[:3], answer["code"]), ("400", "bad_request"))

    def test_answers_head_as_get_without_the_body(self) -> None:
        """Not with Django's test client, which removes the body itself."""
        get = self.send(self.path(), REQUEST_METHOD="GET")
        head = self.send(self.path(), REQUEST_METHOD="HEAD")
        self.assertEqual((get[0], head[0]), ("200 OK", "200 OK"))
        self.assertIsNone(head[2])
        self.assertEqual(head[1]["Content-Length"], get[1]["Content-Length"])
        self.assertGreater(int(head[1]["Content-Length"]), 50)

    def test_answers_a_path_that_is_not_utf_8(self) -> None:
        for path in ("/wallets/\xff\xfe/", "/\xff", "/wallets/\xed\xa0\x80/"):
            with self.subTest(path=path):
                status, _, answer = self.send(path)
                self.assertEqual((status[:3], answer["code"]), ("404", "not_found"))


class UptimeTest(SimpleTestCase):
    @marks.slow
    def test_begins_in_the_process_that_forks_the_others(self) -> None:
        """Else it would begin again whenever a process is replaced."""
        for first in ("import wallet.serve", "runpy.run_path('gunicorn.conf.py')"):
            look = (
                f"import runpy, sys; {first};"
                "print('wallets.utils.uptime' in sys.modules)"
            )
            found = subprocess.run(
                [sys.executable, "-c", look], cwd=settings.BASE_DIR, capture_output=True
            )
            self.assertEqual(found.stdout, b"True\n", found.stderr)
