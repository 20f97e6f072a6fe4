"""`manage.py listen` and `run_webhooks`, and the receiver that the documents show."""

from __future__ import annotations

import io
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path
from unittest import mock

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import SimpleTestCase
from standardwebhooks import WebhookVerificationError

from events.management.commands import listen
from events.models.endpoint import Endpoint
from events.services.webhooks.courier import make_client
from events.tests.webhooks import Webhooks
from events.utils import signatures
from events.utils.receiver import Receiver
from wallets.tests.base import WalletTestCase
from wallets.utils.database.transactions import database_now

ROOT = Path(settings.BASE_DIR)
BODY = '{"id":"evt_1","type":"deposit.completed","wallet":null,"data":{"amount":5}}'


def signed(body: str = BODY, *, event_id: str = "evt_1"):
    """Return the secret, and the headers of a signed event."""
    stored, secret = signatures.made()
    now = database_now()
    return secret, dict(signatures.headers(event_id, body, [stored], now=now))


class ReceiverTest(SimpleTestCase):
    databases = {"default"}

    def setUp(self) -> None:
        self.lines: list[str] = []

    def send(self, receiver, body=BODY, headers=None, **environ):
        """Return the status of the answer."""
        found: list[str] = []
        named = {
            "HTTP_" + name.upper().replace("-", "_"): value
            for name, value in (headers or {}).items()
        }
        content = body.encode()
        list(
            receiver(
                {
                    "REQUEST_METHOD": "POST",
                    "CONTENT_LENGTH": str(len(content)),
                    "wsgi.input": io.BytesIO(content),
                    **named,
                    **environ,
                },
                lambda status, headers: found.append(status),
            )
        )
        return int(found[0][:3])

    def test_tells_an_event_whose_signature_is_right(self):
        secret, headers = signed()
        receiver = Receiver([secret], self.lines.append)
        self.assertEqual(self.send(receiver, headers=headers), 200)
        self.assertIn("deposit.completed          evt_1", self.lines[0])
        self.send(receiver, headers=headers)
        self.assertTrue(self.lines[1].endswith("(again)"))

    def test_refuses_everything_else(self):
        secret, headers = signed()
        receiver = Receiver([secret], self.lines.append)
        forged = headers | {"webhook-signature": "v1,AAAA"}
        for wrong in (forged, {}, headers | {"webhook-id": "evt_2"}):
            self.assertEqual(self.send(receiver, headers=wrong), 401)
        self.assertEqual(self.send(receiver, BODY + " ", headers=headers), 401)
        nonsense = headers | {"webhook-signature": "x y z"}
        self.assertEqual(self.send(receiver, headers=nonsense), 401)
        self.assertEqual(self.send(receiver, REQUEST_METHOD="GET"), 405)
        for length in ("", "-1", "x", "9999999999"):
            self.assertEqual(self.send(receiver, CONTENT_LENGTH=length), 413)
        self.assertFalse([line for line in self.lines if "REFUSED" not in line])

    def test_answers_as_it_is_told(self):
        secret, headers = signed()
        for status in (204, 410, 500):
            receiver = Receiver([secret], self.lines.append, status=status)
            self.assertEqual(self.send(receiver, headers=headers), status)

    def test_prints_nothing_that_a_terminal_obeys(self):
        body = BODY.replace("deposit", "\\u001b[2J")
        secret, headers = signed(body)
        self.send(Receiver([secret], self.lines.append), body, headers)
        self.assertTrue(self.lines[0].isprintable(), self.lines)


class DocumentedReceiverTest(SimpleTestCase):
    databases = {"default"}

    def test_verifies_and_knows_repetitions(self):
        text = (ROOT / "docs" / "webhooks.md").read_text()
        (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
        stored: list[dict] = []
        names = {
            "known": lambda event_id: event_id in [one["id"] for one in stored],
            "store": stored.append,
        }
        exec(code, names)
        secret, headers = signed()
        for _ in range(2):
            self.assertEqual(names["receive"](BODY.encode(), headers, secret), 200)
        self.assertEqual([one["id"] for one in stored], ["evt_1"])
        with self.assertRaises(WebhookVerificationError):
            names["receive"](b"{}", headers, secret)


class ListenTest(Webhooks, WalletTestCase):
    """The whole way: event, courier, HTTP, receiver."""

    def listen(self, **options):
        """Run `listen` with a server that handles two requests, then Ctrl-C."""
        out = io.StringIO()
        made = []

        def make_server(host, port, receiver, handler_class):
            server = real(host, 0, receiver, handler_class=handler_class)
            Endpoint.objects.update(url=f"http://127.0.0.1:{server.server_port}/")
            made.append(server)
            server.serve_forever = self.work(server)
            return server

        real = listen.make_server
        with mock.patch.object(listen, "make_server", make_server):
            call_command("listen", stdout=out, **options)
        return out.getvalue()

    def work(self, server):
        def serve():
            thread = threading.Thread(target=self.handle, args=[server])
            thread.start()
            self.pay_in(5)
            self.deliver(client=make_client())
            url = f"http://127.0.0.1:{server.server_port}/"
            with self.assertRaises(urllib.error.HTTPError):
                urllib.request.urlopen(url, data=b"{}", timeout=10)
            thread.join(10)
            raise KeyboardInterrupt

        return serve

    def handle(self, server):
        server.handle_request()
        server.handle_request()

    def test_prints_each_event_and_leaves_no_webhook_behind(self):
        said = self.listen(type=["deposit.completed"])
        self.assertIn("listening on http://127.0.0.1:8020/", said)
        self.assertIn('"amount": 5', said)
        self.assertIn("REFUSED", said)
        self.assertFalse(Endpoint.objects.filter(deleted_at=None).exists())

    def test_listens_for_a_webhook_that_exists(self):
        made = self.endpoint(types=["deposit.completed"])
        said = self.listen(secret=[made.secret])
        self.assertIn('"amount": 5', said)
        self.assertTrue(Endpoint.objects.get().enabled)

    def test_says_in_one_line_what_is_wrong(self):
        for changed, reason in (
            ({"WEBHOOK_ALLOWED_NETWORKS": []}, "not public"),
            ({"WEBHOOK_ALLOW_HTTP": False}, "must begin with https"),
            ({"WEBHOOK_ALLOWED_PORTS": []}, "port 8020 is not allowed"),
        ):
            with self.settings(**changed), self.assertRaises(CommandError) as caught:
                call_command("listen")
            told = str(caught.exception)
            self.assertIn(reason, told)
            self.assertIn("start `make run`, and use `scripts/manage listen`", told)
            self.assertIn("WEBHOOK_ALLOW_HTTP=true", told)
            self.assertIn("WEBHOOK_ALLOWED_PORTS=8020", told)
            self.assertNotIn("\n", told)
        with self.assertRaisesRegex(CommandError, "types?"):
            call_command("listen", type=["deposit.made"])
        self.assertFalse(Endpoint.objects.filter(deleted_at=None).exists())

    def test_refuses_what_is_no_secret_of_a_webhook(self):
        right = signatures.made()[1]
        for secret in (
            *("foo", "", "!!", "whsec_", "whsec_x", "whsec_!!", "whsec_é", "\udcff"),
            *(right.removeprefix("whsec_"), right + "A", right[:30], f"{right} "),
            *(right.upper(), f"whsec_{'A' * 100}", f"whsec_{right}"),
        ):
            with (
                self.subTest(ascii(secret)),
                # Otherwise it would listen to the end.
                mock.patch.object(listen, "make_server", side_effect=OSError),
                self.assertRaises(CommandError) as caught,
            ):
                call_command("listen", secret=[right, secret])
            told = str(caught.exception)
            self.assertIn("A secret is `whsec_` and", told)
            self.assertNotIn("\n", told)
            if len(secret) > 8:
                self.assertNotIn(secret, told)

    def test_refuses_what_is_no_port_and_no_status(self):
        for words in (
            *(["--port", text] for text in ("0", "-1", "65536", "99999", "x", "8020 ")),
            *(["--status", text] for text in ("100", "199", "600", "-1", "ok", "299")),
        ):
            with self.subTest(words), self.assertRaises(CommandError) as caught:
                call_command("listen", *words)
            self.assertNotIn("\n", str(caught.exception))
        self.assertFalse(Endpoint.objects.exists())

    def test_says_who_sends_what_it_waits_for(self):
        said = self.listen(type=["deposit.completed"])
        self.assertIn("`make run`, or `run_events` and `run_webhooks`, run", said)


class RunTest(Webhooks, WalletTestCase):
    def test_delivers_once_what_is_due(self):
        out = io.StringIO()
        call_command("run_webhooks", "--once", stdout=out)
        self.assertEqual(out.getvalue().strip(), "0 sent")
