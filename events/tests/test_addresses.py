"""Where webhooks may be sent: public https addresses, and what an operator allows."""

from __future__ import annotations

import asyncio
import ipaddress

from django.test import SimpleTestCase
from hypothesis import given, settings
from hypothesis import strategies as st

from events.errors import AddressRefused, Unresolved
from events.utils import addresses, webhook_client
from events.utils.addresses import Policy

PUBLIC_ONLY = Policy()
LOOPBACK_TOO = Policy(
    allow_http=True, networks=(ipaddress.ip_network("127.0.0.0/8"),), ports=None
)

REFUSED = (
    "",
    "example.com",
    "//example.com/x",
    "http://example.com/",
    "HTTP://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "https:example.com",
    "https:///path",
    "https://",
    "https://:443/",
    "https://example.com:22/",
    "https://example.com:80/",
    "https://example.com:0443/",
    "https://example.com:/",
    "https://example.com:99999/",
    "https://example.com:4 43/",
    "https://user@example.com/",
    "https://user:word@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com#@127.0.0.1/",
    "https://example.com/#part",
    "https://example.com\\@127.0.0.1/",
    "https://exa mple.com/",
    " https://example.com/",
    "https://example.com/\n",
    "https://example.com/\x00",
    "https://example.com/a b",
    "https://example.com/%zz",
    "https://example.com/{x}",
    "https://ex\u0430mple.com/",  # a Cyrillic letter
    "https://\u212axample.com/",  # the sign of the kelvin, which lower() makes a k
    "https://example\u3002com/",  # an ideographic full stop
    "https://\uff11\uff12\uff17.0.0.1/",  # digits of full width
    "https://-example.com/",
    "https://example-.com/",
    "https://exa_mple.com/",
    "https://example..com/",
    "https://example.com./",
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 130 + "com/",
    "https://example.com/" + "a" * 3000,
    "https://127.0.0.1/",
    "https://127.1/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.0.0.01/",
    "https://1.2.3.4.5/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://100.64.0.1/",
    "https://168.63.129.16/",
    "https://169.254.169.254/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.0.0.1/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://192.168.1.1/",
    "https://198.18.0.1/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::8.8.8.8]/",
    "https://[64:ff9b::8.8.8.8]/",
    "https://[64:ff9b:1::1]/",
    "https://[100::1]/",
    "https://[2001::1]/",
    "https://[2001:db8::1]/",
    "https://[2002:7f00:1::]/",
    "https://[3fff::1]/",
    "https://[5f00::1]/",
    "https://[fc00::1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[1.2.3.4]/",
    "https://[::1/",
    "https://[2606:4700::1111]x/",
    "https://2606:4700::1111/",
)
READ = (
    ("https://example.com", "example.com", "example.com", "/"),
    ("https://EXAMPLE.com:443/A?b=c", "example.com", "example.com", "/A?b=c"),
    ("https://xn--bcher-kva.example/", *["xn--bcher-kva.example"] * 2, "/"),
    ("https://8.8.8.8/x%20y", "8.8.8.8", "8.8.8.8", "/x%20y"),
    ("https://[2606:4700:0::1]/", "2606:4700::1", "[2606:4700::1]", "/"),
)

fuzz = settings(derandomize=True, deadline=None, max_examples=500, database=None)


class UrlTest(SimpleTestCase):
    def test_is_refused_unless_it_is_public_https(self):
        for url in REFUSED:
            with self.subTest(url=url), self.assertRaises(AddressRefused) as caught:
                addresses.read(url, PUBLIC_ONLY)
            self.assertEqual(caught.exception.field, "url")

    def test_is_taken_apart(self):
        for url, host, header, path in READ:
            with self.subTest(url=url):
                found = addresses.read(url, PUBLIC_ONLY)
                self.assertEqual((found.host, found.port), (host, 443))
                self.assertEqual((found.host_header, found.path), (header, path))
                self.assertTrue(found.tls)

    def test_is_allowed_by_an_operator(self):
        found = addresses.read("http://127.0.0.1:8020/hook", LOOPBACK_TOO)
        self.assertEqual((found.tls, found.port), (False, 8020))
        self.assertEqual(found.host_header, "127.0.0.1:8020")
        for url in (
            "http://10.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://2130706433/",
            "https://user@127.0.0.1/",
        ):
            with self.subTest(url=url), self.assertRaises(AddressRefused):
                addresses.read(url, LOOPBACK_TOO)

    def test_may_have_a_port_that_an_operator_names(self):
        policy = Policy(ports=frozenset({8443}))
        self.assertEqual(addresses.read("https://a.example:8443/", policy).port, 8443)
        with self.assertRaises(AddressRefused):
            addresses.read("https://a.example:8444/", policy)

    @fuzz
    @given(st.text(max_size=60))
    def test_is_refused_or_read_whatever_it_is(self, text):
        for url in (text, f"https://{text}", f"https://[{text}]:443/"):
            try:
                found = addresses.read(url, PUBLIC_ONLY)
            except AddressRefused:
                continue
            self.assertTrue(found.host.isascii())
            self.assertTrue(found.path.startswith("/"))

    @fuzz
    @given(st.ip_addresses())
    def test_never_leads_to_what_python_calls_private(self, address):
        try:
            addresses.check([address], PUBLIC_ONLY)
        except AddressRefused:
            return
        self.assertTrue(address.is_global)
        self.assertFalse(address.is_multicast)


class ResolvedNameTest(SimpleTestCase):
    TARGET = addresses.read("https://shop.example/", PUBLIC_ONLY)

    def check(self, *found: str) -> None:
        async def resolve(host, port):
            self.assertEqual((host, port), ("shop.example", 443))
            return found

        self.check_by(resolve)

    def check_by(self, resolve, *, seconds: float = 5) -> None:
        webhook_client.check_target(
            self.TARGET, PUBLIC_ONLY, seconds=seconds, resolve=resolve
        )

    def test_must_have_public_addresses_only(self):
        self.check("8.8.8.8", "2606:4700::1111")
        for found in (
            ["127.0.0.1"],
            ["8.8.8.8", "10.0.0.1"],
            ["8.8.8.8"] * 20 + ["169.254.169.254"],
            ["2606:4700::1111", "::ffff:127.0.0.1"],
            ["fe80::1%eth0"],
        ):
            with self.subTest(found=found), self.assertRaises(AddressRefused):
                self.check(*found)

    def test_must_have_an_address(self):
        with self.assertRaises(Unresolved):
            self.check()

    def test_is_not_waited_for_longer_than_said(self):
        async def resolve(host, port):
            await asyncio.Event().wait()

        with self.assertRaises(Unresolved):
            self.check_by(resolve, seconds=0.01)

    def test_is_unresolved_when_the_resolver_fails(self):
        async def resolve(host, port):
            raise OSError("no such name")

        with self.assertRaises(Unresolved):
            self.check_by(resolve)
