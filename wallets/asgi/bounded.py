"""Refuses requests beyond the number that an application handles at a time."""

from __future__ import annotations

from wallets.asgi.refusals import Refused
from wallets.asgi.types import Application, Receive, Scope, Send

# A supervisor kills a process whose health check gets no answer.
NEVER_REFUSED = frozenset({"/healthz"})


class Bounded:
    """An application with at most `most` requests at a time; more get 503.

    It wraps applications that wait for threads, and is wrapped by `Deadlines`, which
    answers `service_unavailable`. A request counts from this call on, so its body
    should be complete.
    """

    def __init__(self, application: Application, most: int) -> None:
        self.application = application
        self.most = most
        self.in_hand = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        :raises Refused: there are too many requests.
        """
        if self.in_hand >= self.most and scope["path"] not in NEVER_REFUSED:
            raise Refused("service_unavailable")
        self.in_hand += 1
        try:
            await self.application(scope, receive, send)
        finally:
            self.in_hand -= 1
