"""Sends webhooks. All HTTP to endpoints is here, and no database access.

The peer is chosen by a client and untrusted. Each call resolves the name once, checks
every address that it got, and connects to one of those: a name that changes its mind
between the check and the connection cannot lead elsewhere. One deadline covers the whole
exchange, the answer is bounded, a redirect is not followed, no proxy of the environment
is used, and no connection is used twice.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from events.errors import AddressRefused, ResolverBusy, Unresolved
from events.utils import addresses
from events.utils.addresses import Address, Policy, Target
from events.utils.names import NAMES
from wallets.utils.bank.connections import Connection, NotSent
from wallets.utils.bank.http_calls import Caller, DeadlineOver, Result
from wallets.utils.bank.http_exchange import Exchange, HttpAnswer, request
from wallets.utils.database.transactions import refuse_inside_transaction

logger = logging.getLogger(__name__)

MAX_TEXT = 1000  # characters of an answer, or of a reason, that are kept
# No more bytes of an answer are read: a character has at most four.
MAX_ANSWER_BYTES = 4 * MAX_TEXT
# The most addresses of a name that are tried, one after the other.
MAX_ADDRESSES = 4
NOT_PUBLIC = (
    "An address of the URL's host is not public, and webhooks are not sent there."
)
AGENT = "wallet-service-webhooks"

# Returns the addresses of a name, in the order in which they are tried.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class Reply:
    """The result of one attempt. `status` is None if there was no complete answer.

    `ours`: nothing was sent, and the receiver has no part in that.
    """

    status: int | None
    text: str
    retry_after: str = ""
    ours: bool = False

    @property
    def received(self) -> bool:
        """Whether the receiver has the event: a status from 200 to 299."""
        return self.status is not None and 200 <= self.status <= 299


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system's resolver has for a name.

    :raises OSError: the name has none, or the resolver does not answer.
    :raises ResolverBusy: too many look-ups of this process are not finished.
    """
    return await NAMES.find(host, port)


async def _checked(
    target: Target, policy: Policy, resolve: Resolve, seconds: float
) -> list[Address]:
    """Return the addresses of the target: all checked, at least one.

    :raises AddressRefused: one of them is refused.
    :raises Unresolved: there is none.
    :raises ResolverBusy: our resolver has no place for the look-up.
    """
    literal = target.address
    if literal is not None:
        found = [literal]
    else:
        try:
            names = await asyncio.wait_for(resolve(target.host, target.port), seconds)
        except asyncio.TimeoutError:
            raise Unresolved(
                f"the name {target.host} was not resolved in time"
            ) from None
        except (OSError, UnicodeError) as error:
            raise Unresolved(f"the name {target.host} was not resolved") from error
        found = [ipaddress.ip_address(name.partition("%")[0]) for name in names]
    if not found:
        raise Unresolved(f"the name {target.host} has no address")
    try:
        addresses.check(found, policy)
    except AddressRefused as refusal:
        # Which address a name has inside is not for the client who has named it.
        logger.warning("a webhook's name %s is refused: %s", target.host, refusal)
        raise AddressRefused(NOT_PUBLIC) from None
    return found[:MAX_ADDRESSES]


def check_target(
    target: Target, policy: Policy, *, seconds: float, resolve: Resolve = system_resolve
) -> None:
    """Resolve the target's name and check all its addresses. Blocks up to `seconds`.

    Call it in a thread without an event loop.

    :raises AddressRefused: one of them is refused.
    :raises Unresolved: there is none.
    """
    if target.address is not None:
        return  # `addresses.read` has checked it
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_checked(target, policy, resolve, seconds))
    finally:
        loop.close()  # does not wait for a resolver that hangs


class _OurTrouble(NotSent):
    """Nothing was sent, for a reason of ours."""


class WebhookClient:
    """Sends events to endpoints. Thread-safe. Call outside a transaction.

    `deadline`: the seconds of a whole call, from resolving to the last byte;
    `connect_timeout`: those for resolving, and for connecting to one address; `size`: the
    most calls at a time.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        deadline: float,
        connect_timeout: float,
        size: int,
        resolve: Resolve = system_resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._timeout = connect_timeout
        self._resolve = resolve
        self._tls = tls or ssl.create_default_context()
        self._caller: Caller[Reply] = Caller(deadline=deadline, size=size)

    def send_later(
        self,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: str,
        *,
        send_before: float,
    ) -> Future[Reply]:
        """Start sending an event; return the future of the reply.

        Nothing is sent after `send_before` (`clock.elapsed`).
        """
        refuse_inside_transaction("an endpoint was called")
        try:
            target = addresses.read(url, self._policy)
        except AddressRefused as error:
            refused: Future[Reply] = Future()
            refused.set_result(Reply(None, _cut(f"not sent: {error}")))
            return refused
        content = body.encode()
        head = request(
            "POST",
            target.path,
            (
                ("Host", target.host_header),
                ("User-Agent", AGENT),
                ("Accept", "*/*"),
                ("Accept-Encoding", "identity"),
                ("Connection", "close"),
                ("Content-Type", "application/json"),
                *headers,
            ),
            len(content),
        )
        return self._caller.submit(
            Exchange(head, content, limit=MAX_ANSWER_BYTES),
            _read,
            send_before=send_before,
            connect=functools.partial(self._connect, target),
        )

    async def _connect(self, target: Target) -> Connection:
        """Connect to a checked address of the target.

        :raises NotSent: there is none, or none answers.
        """
        try:
            found = await _checked(target, self._policy, self._resolve, self._timeout)
        except ResolverBusy as error:
            raise _OurTrouble(str(error)) from error
        except (AddressRefused, Unresolved) as error:
            raise NotSent(str(error)) from error
        for address in found:
            opened = asyncio.ensure_future(
                Connection.open(
                    str(address),
                    target.port,
                    tls=self._tls if target.tls else None,
                    timeout=self._timeout,
                    name=target.host,
                )
            )
            reason = await _failure(opened)
            if not reason:
                return opened.result()
            # The address is not for the client; he knows the name.
            reason = reason.replace(str(address), target.host)
        raise NotSent(reason)


async def _failure(opened: asyncio.Future[Connection]) -> str:
    """Wait for a connection; return why there is none, or nothing.

    The time limit of `Connection.open` ends only this one, and not the whole call.
    """
    try:
        await asyncio.wait({opened})
    except asyncio.CancelledError:
        opened.add_done_callback(_close)
        opened.cancel()
        raise
    if opened.cancelled():
        return "no connection in time"
    return str(opened.exception() or "")


def _close(opened: asyncio.Future[Connection]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()


def _read(result: Result, _sent_at: float | None) -> tuple[Reply, bool]:
    """Return what the result of a call means; its connection is never used again."""
    if isinstance(result, HttpAnswer):
        return Reply(result.status, _text(result.body), result.retry_after), False
    if isinstance(result, NotSent):
        ours = isinstance(result, _OurTrouble)
        return Reply(None, _cut(f"not sent: {result}"), ours=ours), False
    if isinstance(result, DeadlineOver):
        return Reply(None, "no complete answer in time"), False
    return Reply(None, _cut(f"{type(result).__name__}: {result}")), False


def _text(raw: bytes) -> str:
    return _cut(raw.decode("utf-8", "replace"))


def _cut(text: str) -> str:
    """Return the text as every database stores it, and as a page can show it."""
    shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
    return shown[:MAX_TEXT]
