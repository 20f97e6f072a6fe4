"""The API for a drill: its process is killed with a full batch in hand, once.

Requests wait at the entrance until all that were announced are there, and enter together:
what then waits for a batch is more than one batch takes. The process that follows the
killed one serves as always. KILL_OPERATION and KILL_PHASE say in which batch it happens and
when, KILL_CLIENTS how many requests there are; in the file KILL_MARK the process leaves
the keys of the batch, a line for each.
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
from wallets.views.withdraw import WithdrawView

OPERATIONS: dict[str, Operation[Any, Any]] = {
    "deposit": DepositView.operation,
    "withdraw": WithdrawView.operation,
}


class Together:
    """The application, entered by none until so many requests are there, once."""

    def __init__(self, application: Application, clients: int, mark: Path) -> None:
        self._application = application
        self._missing = clients
        self._all_here = asyncio.Event()
        if mark.exists():
            self._all_here.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; those that change nothing need not wait."""
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
    """An operation's `many`; a full batch is the last thing that its process does.

    `phase`: "before" the first statement, before "commit", or "after" it, when nobody has
    been answered. A batch that is a single statement has no COMMIT of its own: there
    "commit" is "after".
    """

    def __init__(self, operation: Operation[Any, Any], phase: str, mark: Path) -> None:
        self._many = operation.many
        self._full = operation.max_batch
        self._phase = phase
        self._mark = mark

    def __call__(self, calls: Sequence[Any], *, wait: bool) -> Sequence[Any]:
        if len(calls) < self._full or self._mark.exists():
            return self._many(calls, wait=wait)
        self._mark.write_text("\n".join(str(call.key) for call in calls))
        if self._phase == "before":
            kill()
        if self._phase == "commit":
            database: Any = connection
            database._commit = kill
        self._many(calls, wait=wait)
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
    # However slow the machine is, no second batch begins beside the first.
    batching.SLOW_SECONDS = 60
    # On this instance: every transport calls it here.
    vars(operation)["many"] = Killed(operation, os.environ["KILL_PHASE"], mark)
    return Together(served, int(os.environ["KILL_CLIENTS"]), mark)


application = _prepared()
