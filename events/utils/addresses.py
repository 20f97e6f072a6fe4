"""The addresses that webhooks may be sent to. No network here.

An endpoint's URL is written by a client, and our machine connects to it. So only public
addresses are allowed, unless an operator allows more. The URL is checked when it is
given; the addresses behind its name are checked before each connection, because a name
can be pointed elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from events.errors import AddressRefused

MAX_URL = 2048
_PORTS = {"https": 443, "http": 80}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Visible ASCII without the characters that parsers of URLs disagree about.
_TEXT = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?",
    re.I,
)
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# The last label of a name that some library reads as a number, thus as an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")

# IPv4: all but the special-purpose networks of IANA, and an address inside Azure.
_CLOSED_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# IPv6: only global unicast, without the networks that embed or translate IPv4.
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


@dataclass(frozen=True)
class Policy:
    """What an operator allows beyond https, port 443 and public addresses.

    `ports`: None allows all.
    """

    allow_http: bool = False
    networks: tuple[Network, ...] = ()
    ports: frozenset[int] | None = frozenset()

    @classmethod
    def of(cls, settings: Any) -> Policy:
        """Return the configured policy."""
        ports = settings.WEBHOOK_ALLOWED_PORTS
        return cls(
            allow_http=settings.WEBHOOK_ALLOW_HTTP,
            networks=tuple(
                ipaddress.ip_network(text) for text in settings.WEBHOOK_ALLOWED_NETWORKS
            ),
            ports=None if "any" in ports else frozenset(int(port) for port in ports),
        )


@dataclass(frozen=True)
class Target:
    """A URL that may be sent to, in the parts that a request needs.

    `host` is an address or a name in lower case; `host_header` has the port, if it is
    not the default; `path` has the query.
    """

    tls: bool
    host: str
    port: int
    host_header: str
    path: str

    @property
    def address(self) -> Address | None:
        """The address, if the host is one and no name."""
        return _address(self.host)


def read(url: str, policy: Policy) -> Target:
    """Return the parts of a URL. An address in it is checked, a name is not resolved.

    :raises AddressRefused: webhooks are not sent there.
    """
    if len(url) > MAX_URL:
        raise AddressRefused(f"The URL must have at most {MAX_URL} characters.")
    if not _TEXT.fullmatch(url):
        raise AddressRefused(
            "The URL must be ASCII without spaces; write an international name as xn--…."
        )
    found = _URL.fullmatch(url)
    scheme = found["scheme"].lower() if found else ""
    if not found or (scheme == "http" and not policy.allow_http):
        raise AddressRefused("The URL must begin with https:// and have no fragment.")
    path, query = found["path"] or "/", found["query"] or ""
    if not _PATH.fullmatch(path + query):
        raise AddressRefused("The path of the URL must be percent-encoded.")
    host, literal, port = _authority(found["authority"], scheme, policy)
    if literal is not None:
        check((literal,), policy)
    shown = f"[{host}]" if ":" in host else host
    return Target(
        tls=scheme == "https",
        host=host,
        port=port,
        host_header=shown if port == _PORTS[scheme] else f"{shown}:{port}",
        path=path + query,
    )


def _authority(
    netloc: str, scheme: str, policy: Policy
) -> tuple[str, Address | None, int]:
    """Return host, address (if the host is one) and port."""
    if "@" in netloc:
        raise AddressRefused("The URL must have no user name and no password.")
    host, colon, digits = netloc.lower(), "", ""
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or "%" in host:
            raise AddressRefused("The address in brackets is not an IPv6 address.")
        colon, digits = rest[:1], rest[1:]
        literal: Address | None = _address(host)
        if not isinstance(literal, ipaddress.IPv6Address):
            raise AddressRefused("The address in brackets is not an IPv6 address.")
        host = str(literal)
    else:
        host, colon, digits = host.partition(":")
        literal = _address(host)
        if literal is None:
            _check_name(host)
    port = _PORTS[scheme]
    if colon:
        if not _PORT.fullmatch(digits) or int(digits) > 65535:
            raise AddressRefused("The port of the URL is no port number.")
        port = int(digits)
    if not (port == _PORTS[scheme] or policy.ports is None or port in policy.ports):
        raise AddressRefused(f"The port {port} is not allowed; leave it out.")
    return host, literal, port


def _check_name(host: str) -> None:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressRefused("The URL has no host name that can be used.")
    if _NUMBER.fullmatch(labels[-1]):
        raise AddressRefused(
            "The host looks like a number: write an IPv4 address as four decimal numbers."
        )


def _address(text: str) -> Address | None:
    """Return the address; None for a name, and for any other way to write a number."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def check(addresses: Iterable[Address], policy: Policy) -> None:
    """Refuse if one of the addresses is neither public nor allowed.

    :raises AddressRefused: names the first of them. If it was found for a name, that is
        not for clients.
    """
    for address in addresses:
        if not (_is_public(address) or _is_allowed(address, policy)):
            raise AddressRefused(
                f"The address {address} is not public, and webhooks are not sent there."
            )


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    return address in _OPEN_V6 and not any(address in one for one in _CLOSED_V6)


def _is_allowed(address: Address, policy: Policy) -> bool:
    return any(
        address.version == network.version and address in network
        for network in policy.networks
    )
