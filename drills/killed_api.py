"""The API for a drill: its process is killed once, with a full batch.

Requests wait at the application until all announced ones have come, and enter together;
they are more than one batch takes. The process that replaces the killed one serves
normally. KILL_OPERATION and KILL_PHASE select the batch and the moment; KILL_CLIENTS is
the number of requests. The process writes the keys of the batch into the file
KILL_MARK, one on each line.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import connection

from drills.events import kill
from wallet.asgi import application as served
from wallets.asgi.types import Application, Message, Receive, Scope, Send
from wallets.utils import batching
from wallets.views.deposit import DepositView
from wallets.views.http.operation import Operation
from wallets.views.transfer import TransferListView
from wallets.views.withdraw import WithdrawView

OPERATIONS: dict[str, Operation[Any, Any]] = {
    "deposit": DepositView.operations[0],
    "withdraw": WithdrawView.operations[0],
    "transfer": TransferListView.operations[0],
}


class Together:
    """The application; once, requests wait until `clients` of them have come."""

    def __init__(self, application: Application, clients: int, mark: Path) -> None:
        self._application = application
        self._missing = clients
        self._all_here = asyncio.Event()
        if mark.exists():
            self._all_here.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; requests that change nothing need not wait."""
        if scope["type"] == "http" and scope["method"] == "POST":
            body = await _body_of(receive)
            parts = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive_again() -> Message:
                return parts.pop() if parts else await receive()

            self._missing -= 1
            if not self._missing:
                self._all_here.set()
            await self._all_here.wait()
            await self._application(scope, receive_again, send)
            return
        await self._application(scope, receive, send)


class Killed:
    """The `many` of an operation; kills its process in the first full batch.

    `phase`: "before" the first statement, before "commit", or "after" it, when no
    request has been answered. A batch of one statement has no COMMIT of its own: there
    "commit" is the same as "after".
    """

    def __init__(self, operation: Operation[Any, Any], phase: str, mark: Path) -> None:
        self._many = operation.many
        self._full = operation.max_batch
        self._phase = phase
        self._mark = mark

    def __call__(self, calls: Sequence[Any], **how: Any) -> Sequence[Any]:
        if len(calls) < self._full or self._mark.exists():
            return self._many(calls, **how)
        self._mark.write_text("\n".join(str(call.key) for call in calls))
        if self._phase == "before":
            kill()
        if self._phase == "commit":
            database: Any = connection
            database._commit = kill
        self._many(calls, **how)
        kill()
        raise AssertionError("a killed process goes on")


async def _body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


def _prepared() -> Application:
    mark = Path(os.environ["KILL_MARK"])
    operation = OPERATIONS[os.environ["KILL_OPERATION"]]
    # No second batch starts beside the first, however slow the machine is.
    batching.SLOW_SECONDS = 60
    # Set on the instance, which every transport calls.
    vars(operation)["many"] = Killed(operation, os.environ["KILL_PHASE"], mark)
    return Together(served, int(os.environ["KILL_CLIENTS"]), mark)


application = _prepared()
