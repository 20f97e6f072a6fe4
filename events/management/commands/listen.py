"""`manage.py listen`: a receiver of webhooks on this machine, to try them out."""

from __future__ import annotations

import re
import signal
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.core.management.base import CommandError

from events.errors import AddressRefused
from events.services.webhooks import endpoints
from events.utils.receiver import Receiver
from wallets.management.base import DatabaseCommand, refused

ACTOR = "manage.py listen"
PORT = 8020


class QuietHandler(WSGIRequestHandler):
    """Does not log requests, and does not wait for a silent client for ever."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the receiver tells what matters."""


class Command(DatabaseCommand):
    help = (
        "Receive webhooks on loopback, verify them with the library of Standard "
        "Webhooks, and print each event. Without --secret it makes a webhook for itself, "
        "and deletes it when it ends."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=_port, default=PORT)
        parser.add_argument(
            "--secret",
            action="append",
            default=[],
            help="the secret of a webhook that you have made; may be repeated",
        )
        parser.add_argument(
            "--type", action="append", default=[], help="only events of this type"
        )
        parser.add_argument(
            "--status", type=_status, default=200, help="answer with this; 500: fail"
        )

    def handle(
        self,
        *args: Any,
        port: int,
        secret: list[str],
        type: list[str],
        status: int,
        **options: Any,
    ) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        url = f"http://127.0.0.1:{port}/"
        with self._secrets(url, secret, type) as secrets:
            try:
                receiver = Receiver(secrets, self._say, status=status)
                server = make_server(
                    "127.0.0.1", port, receiver, handler_class=QuietHandler
                )
            except ValueError as error:
                raise CommandError(f"{error}") from None
            except OSError as error:
                raise CommandError(f"port {port}: {error.strerror}") from None
            with server:
                self._say(
                    f"listening on {url}; Ctrl-C ends it. Events are sent while "
                    "`make run`, or `run_events` and `run_webhooks`, run."
                )
                try:
                    server.serve_forever()
                except KeyboardInterrupt:
                    self._say("ended")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    @contextmanager
    def _secrets(
        self, url: str, given: list[str], types: list[str]
    ) -> Iterator[list[str]]:
        """Yield the secrets; make a webhook for the time of listening if none is given."""
        if given:
            yield given
            return
        with refused("no webhook was made"), _refused_address_explained(url):
            made = endpoints.create(
                url=url, types=types, description=ACTOR, actor=ACTOR
            )
        try:
            yield [made.secret]
        finally:
            endpoints.delete(made.endpoint.uuid, actor=ACTOR)


def _port(text: str) -> int:
    """Return the number of a port.

    :raises ArgumentTypeError: argparse prints it as one line.
    """
    if not re.fullmatch("[1-9][0-9]{0,4}", text) or int(text) > 65535:
        raise ArgumentTypeError(f"{text[:30]!r} is no port from 1 to 65535")
    return int(text)


def _status(text: str) -> int:
    """Return a status that ends an exchange.

    :raises ArgumentTypeError: argparse prints it as one line.
    """
    if not re.fullmatch("[2-5][0-9]{2}", text) or int(text) not in set(HTTPStatus):
        raise ArgumentTypeError(f"{text[:30]!r} is no status such as 200 or 500")
    return int(text)


@contextmanager
def _refused_address_explained(url: str) -> Iterator[None]:
    """Tell what allows the service to send webhooks to this machine.

    :raises CommandError: it does not.
    """
    try:
        yield
    except AddressRefused as refusal:
        raise CommandError(
            f"no webhook was made for {url}: {refusal} `make run` allows it: start `make "
            "run`, and use `scripts/manage listen`; elsewhere set WEBHOOK_ALLOW_HTTP=true, "
            "WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8 and WEBHOOK_ALLOWED_PORTS="
            f"{urlsplit(url).port} for run_webhooks and for this command."
        ) from None
