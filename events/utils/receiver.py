"""A receiver of webhooks, for trying them out: verifies, tells, and answers.

It uses the standard's own library, as any receiver can, and nothing else of ours.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

# The most bytes of a request; an event has a few hundred.
MAX_BODY_BYTES = 1024 * 1024
# The secrets of Standard Webhooks.
_PREFIX = "whsec_"
_SECRET = re.compile(rf"{_PREFIX}[A-Za-z0-9+/]+={{0,2}}")
_KEY_BYTES = range(24, 65)
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")

Say = Callable[[str], None]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Receiver:
    """A WSGI application. `status` is the answer to an event whose signature is right.

    Events are told to `say`, one line each.

    :raises ValueError: a text is no secret of Standard Webhooks, or no such status.
    """

    def __init__(self, secrets: Sequence[str], say: Say, *, status: int = 200) -> None:
        self._webhooks = [_webhook(secret) for secret in secrets]
        self._say = say
        self._status = HTTPStatus(status)
        self._known: set[str] = set()

    def __call__(
        self, environ: Mapping[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""
        status = self._take(environ)
        # 204 and 304 have no content.
        content = b"" if status in (204, 304) else f"{status.phrase}\n".encode()
        start_response(
            f"{status.value} {status.phrase}",
            [("Content-Type", "text/plain"), ("Content-Length", str(len(content)))],
        )
        return [content]

    def _take(self, environ: Mapping[str, Any]) -> HTTPStatus:
        if environ["REQUEST_METHOD"] != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED
        length = environ.get("CONTENT_LENGTH") or ""
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        body = environ["wsgi.input"].read(int(length))
        headers = {
            name: environ.get("HTTP_" + name.upper().replace("-", "_"), "")
            for name in _HEADERS
        }
        event = self._verified(body, headers)
        if event is None:
            self._say(f"REFUSED: wrong signature, {len(body)} bytes")
            return HTTPStatus.UNAUTHORIZED
        again = " (again)" if headers["webhook-id"] in self._known else ""
        self._known.add(headers["webhook-id"])
        self._say(_line(event, headers["webhook-id"]) + again)
        return self._status

    def _verified(self, body: bytes, headers: dict[str, str]) -> Any:
        """Return the event; None if no secret has signed it."""
        for webhook in self._webhooks:
            try:
                return webhook.verify(body, headers)
            except (WebhookVerificationError, ValueError):
                continue
        return None


def _webhook(secret: str) -> Webhook:
    """Return what verifies by this secret.

    The library skips letters that are not of base64, so a text that is no secret would
    be taken, and each event refused. The text is not quoted: it may be nearly right.

    :raises ValueError: it is no secret.
    """
    with suppress(ValueError):
        if _SECRET.fullmatch(secret):
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
            if len(key) in _KEY_BYTES:
                return Webhook(secret)
    raise ValueError(
        f"A secret is `{_PREFIX}` and at least 32 characters of base64, as the answer to "
        "POST /webhooks/ has it."
    )


def _line(event: Any, event_id: str) -> str:
    """Return an event in one line, without characters that a terminal would obey."""
    if not isinstance(event, dict):
        return f"{event_id!a} {event!a}"
    data = json.dumps(event.get("data"))
    line = f"{event.get('type')!s:26} {event_id} wallet {event.get('wallet')} {data}"
    return "".join(char if char.isprintable() else "\ufffd" for char in line)
