"""The sending client, against receivers and resolvers that misbehave."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import socket
from unittest import mock

from django.conf import settings
from django.test import SimpleTestCase, TestCase
from standardwebhooks import Webhook

from events.utils import signatures
from events.utils.addresses import Policy
from events.utils.webhook_client import (
    MAX_TEXT,
    Reply,
    WebhookClient,
    system_resolve,
)
from wallets.errors import InsideTransaction
from wallets.tests.peers import Peer, TlsPeer, response, trusting
from wallets.utils.database.transactions import database_now, run_in_transaction

LOOPBACK = Policy(
    allow_http=True,
    networks=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
    ports=None,
)
FOREVER = float("inf")
BODY = '{"type":"deposit.completed"}'


class ClientTestCase(SimpleTestCase):
    def peer(self, script, kind=Peer):
        peer = kind(script)
        self.addCleanup(peer.stop)
        return peer

    def send(
        self,
        url,
        *,
        policy=LOOPBACK,
        deadline=20.0,
        connect_timeout=10.0,
        resolve=system_resolve,
        send_before=FOREVER,
        tls=None,
        headers=(),
    ) -> Reply:
        client = WebhookClient(
            policy,
            deadline=deadline,
            connect_timeout=connect_timeout,
            size=4,
            resolve=resolve,
            tls=tls,
        )
        call = client.send_later(url, headers, BODY, send_before=send_before)
        return call.result(60)

    def answered(self, answer: bytes) -> Reply:
        def script(line):
            line.read_request()
            line.send(answer)

        return self.send(self.peer(script).url)


class ReceiverTest(ClientTestCase):
    databases = {"default"}  # for its clock

    def test_gets_one_signed_request(self):
        requests = []

        def script(line):
            requests.append(line.read_request())
            line.send(response(b"thanks", headers={"Content-Type": "text/plain"}))

        stored, secret = signatures.made()
        old, old_secret = signatures.made()
        now = database_now()
        headers = signatures.headers("evt_1", BODY, [stored, old], now=now)
        peer = self.peer(script)
        reply = self.send(f"{peer.url}/hook?a=b", headers=headers)

        self.assertEqual(reply, Reply(200, "thanks"))
        self.assertTrue(reply.received)
        (request,) = requests
        head, _, body = request.decode().partition("\r\n\r\n")
        line, *fields = head.split("\r\n")
        self.assertEqual(line, "POST /hook?a=b HTTP/1.1")
        got = dict(field.lower().split(": ", 1) for field in fields[:7])
        self.assertEqual(got["host"], f"127.0.0.1:{peer.port}")
        self.assertEqual(body, BODY)
        sent = dict(field.split(": ", 1) for field in fields)
        for known in (secret, old_secret):
            self.assertEqual(
                Webhook(known).verify(body, sent)["type"], "deposit.completed"
            )

    def test_has_the_event_after_2xx_only(self):
        for status, received in (
            ("200 OK", True),
            ("201 Created", True),
            ("204 No Content", True),
            ("299 Fine", True),
            ("300 Choices", False),
            ("304 Same", False),
            ("400 Bad", False),
            ("410 Gone", False),
            ("500 Error", False),
        ):
            with self.subTest(status=status):
                reply = self.answered(response(b"", status=status))
                self.assertEqual(reply.received, received)
                self.assertEqual(reply.status, int(status[:3]))

    def test_leads_nowhere_by_a_redirect(self):
        other = self.peer(lambda line: line.send(response(b"")))
        for status in (301, 302, 303, 307, 308):
            headers = {"Location": other.url}
            answer = response(b"", status=f"{status} Moved", headers=headers)
            reply = self.answered(answer)
            self.assertEqual((reply.status, reply.received), (status, False))
        self.assertEqual(other.connections, 0)

    def test_may_ask_for_a_later_attempt(self):
        answer = response(b"", status="503 Busy", headers={"Retry-After": "120"})
        self.assertEqual(self.answered(answer).retry_after, "120")

    def test_is_not_believed_before_its_answer_is_whole(self):
        whole = response(b"thanks")
        for answer in (
            b"",
            whole[:20],
            whole[:-1],
            b"200 OK\r\n\r\n",
            b"\x00" * 100,
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 99 OK\r\n\r\n",
        ):
            with self.subTest(answer=answer):
                reply = self.answered(answer)
                self.assertIsNone(reply.status)
                self.assertFalse(reply.received)

    def test_cannot_hold_a_call_longer_than_the_deadline(self):
        def silent(line):
            line.read_request()
            line.hang()

        def dripping(line):
            line.read_request()
            line.drip(itertools.cycle(b"H"), pause=0.01)

        def in_the_body(line):
            line.read_request()
            line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            line.drip(itertools.cycle(b"x"), pause=0.2)

        def informing(line):
            line.read_request()
            line.drip(itertools.cycle(b"HTTP/1.1 103 Early\r\n\r\n"), pause=0.001)

        for script in (silent, dripping, in_the_body, informing):
            with self.subTest(script=script.__name__):
                reply = self.send(self.peer(script).url, deadline=0.5)
                self.assertFalse(reply.received)
                self.assertIsNone(reply.status)

    def test_cannot_fill_the_memory(self):
        def headers(line):
            line.read_request()
            line.send(b"HTTP/1.1 200 OK\r\n")
            while True:
                line.send(b"X: " + b"x" * 1000 + b"\r\n")

        def body(line):
            line.read_request()
            line.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            while True:
                line.send(b"y" * 10000)

        self.assertIsNone(self.send(self.peer(headers).url).status)
        reply = self.send(self.peer(body).url)
        self.assertEqual((reply.status, len(reply.text)), (200, MAX_TEXT))

    def test_cannot_store_what_no_page_shows(self):
        body = b"a\x00b\x1b[31m\xff\r\n\xe2\x80\xaec"
        self.assertEqual(
            self.answered(response(body)).text,
            "a\ufffdb\ufffd[31m\ufffd\ufffd\n\ufffdc",
        )

    def test_is_asked_once_for_each_connection(self):
        def script(line):
            while line.read_request():
                line.send(response(b"ok"))

        peer = self.peer(script)
        client = WebhookClient(LOOPBACK, deadline=20, connect_timeout=10, size=4)
        for _ in range(3):
            call = client.send_later(peer.url, (), BODY, send_before=FOREVER)
            self.assertEqual(call.result(60).status, 200)
        self.assertEqual(peer.connections, 3)

    def test_is_not_called_by_a_proxy_of_the_environment(self):
        proxy = self.peer(lambda line: line.send(response(b"proxy")))
        names = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY")
        with mock.patch.dict("os.environ", dict.fromkeys(names, proxy.url)):
            reply = self.answered(response(b"receiver"))
        self.assertEqual(reply.text, "receiver")
        self.assertEqual(proxy.connections, 0)

    def test_gets_nothing_after_the_lease(self):
        peer = self.peer(lambda line: line.hang())
        reply = self.send(peer.url, send_before=0.0)
        self.assertIn("not sent", reply.text)
        self.assertEqual(peer.requests, [])


class NameTest(ClientTestCase):
    """The name of an endpoint, and what its addresses may be."""

    def resolver(self, *answers):
        """Return a resolver that gives these answers, one after the other."""
        waiting = list(answers)

        async def resolve(host, port):
            return waiting.pop(0)

        return resolve

    def test_is_checked_at_each_sending_on_the_address_that_is_used(self):
        """A name that turned to an address inside: DNS rebinding."""
        inside = self.peer(lambda line: line.send(response(b"secret")))
        public = Policy(allow_http=True, ports=None)
        for found in (["127.0.0.1"], ["::1"], ["8.8.8.8", "127.0.0.1"]):
            with self.subTest(found=found):
                with self.assertLogs("events.utils.webhook_client") as logs:
                    reply = self.send(
                        f"http://shop.example:{inside.port}/",
                        policy=public,
                        resolve=self.resolver(found),
                    )
                self.assertIn(found[-1], logs.output[0])
                self.assertIn("not public", reply.text)
                self.assertNotIn(found[-1], reply.text)
        self.assertEqual(inside.connections, 0)

    def test_is_resolved_once(self):
        peer = self.peer(self.fine)
        resolve = self.resolver(["127.0.0.1"])  # a second question would fail
        reply = self.send(f"http://shop.example:{peer.port}/", resolve=resolve)
        self.assertEqual(reply.status, 200)

    def test_may_have_an_address_where_nobody_is(self):
        peer = self.peer(self.fine)
        resolve = self.resolver(["127.0.0.2", "::1", "127.0.0.1"])
        reply = self.send(f"http://shop.example:{peer.port}/", resolve=resolve)
        self.assertEqual(reply.status, 200)

    def test_is_all_that_a_client_learns_about_where_it_leads(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        resolve = self.resolver(["127.0.0.1"])  # nobody listens there any more
        reply = self.send(f"http://shop.example:{port}/", resolve=resolve)
        self.assertIn("shop.example", reply.text)
        self.assertNotIn("127.0.0.1", reply.text)

    def fine(self, line):
        line.read_request()
        line.send(response(b"ok"))

    def test_is_that_of_the_certificate(self):
        """The certificate of the peer is for 127.0.0.1, not for shop.example."""
        peer = self.peer(self.fine, kind=TlsPeer)
        reply = self.send(
            f"https://shop.example:{peer.port}/",
            resolve=self.resolver(["127.0.0.1"]),
            tls=trusting(),
        )
        self.assertIn("certificate", reply.text)
        reply = self.send(peer.url, tls=trusting())
        self.assertEqual(reply.status, 200)

    def test_is_not_waited_for_for_ever(self):
        async def resolve(host, port):
            await asyncio.Event().wait()

        reply = self.send("http://shop.example/", resolve=resolve, connect_timeout=0.05)
        self.assertIn("not resolved in time", reply.text)

    def test_is_refused_before_a_connection_if_the_policy_has_changed(self):
        reply = self.send("http://127.0.0.1/", policy=Policy())
        self.assertIn("https", reply.text)
        self.assertFalse(reply.received)


class SecretTest(SimpleTestCase):
    def test_is_derived_again_with_the_same_key_only(self):
        stored, secret = signatures.made()
        self.assertTrue(secret.startswith("whsec_"))
        self.assertEqual(signatures.secret_of(stored), secret)
        self.assertNotIn(secret, repr(stored))
        with (
            self.settings(SECRET_KEY="another one"),
            self.assertRaises(signatures.UnreadableSecret),
        ):
            signatures.secret_of(stored)

    def test_outlives_its_key_as_a_fallback(self):
        stored, secret = signatures.made()
        with self.settings(
            SECRET_KEY="another one", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]
        ):
            self.assertEqual(signatures.secret_of(stored), secret)

    def test_is_new_each_time(self):
        self.assertEqual(len({signatures.made()[1] for _ in range(50)}), 50)


class InsideTransactionTest(TestCase):
    def test_is_no_place_to_send(self):
        client = WebhookClient(LOOPBACK, deadline=1, connect_timeout=1, size=1)
        with self.assertRaises(InsideTransaction):
            run_in_transaction(
                lambda: client.send_later(
                    "http://127.0.0.1/", (), BODY, send_before=FOREVER
                )
            )
