"""Sheds what is too much: an application that has so many requests in hand at once."""

from __future__ import annotations

from wallets.asgi.refusals import Refused
from wallets.asgi.types import Application, Receive, Scope, Send

# Whoever asks whether the process lives has to be answered, or it is killed when it is
# needed.
NEVER_REFUSED = frozenset({"/healthz"})


class Bounded:
    """An application that is called so often at once; more are `service_unavailable`.

    To be put round what waits for a thread, inside of `Deadlines`, which answers. A request
    counts from its call on: one whose body has still to come should not be here yet.
    """

    def __init__(self, application: Application, most: int) -> None:
        self.application = application
        self.most = most
        self.in_hand = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        :raises Refused: there are too many.
        """
        if self.in_hand >= self.most and scope["path"] not in NEVER_REFUSED:
            raise Refused("service_unavailable")
        self.in_hand += 1
        try:
            await self.application(scope, receive, send)
        finally:
            self.in_hand -= 1
