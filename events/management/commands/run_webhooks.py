"""`manage.py run_webhooks`: delivers the events of the feed to the endpoints."""

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from events.services.webhooks import health
from events.services.webhooks.courier import Courier
from wallets.management.arguments import seconds
from wallets.management.base import DatabaseCommand
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import stopping


class Command(DatabaseCommand):
    help = (
        "Deliver webhooks. Several may run, on any machine. SIGTERM and Ctrl-C end it "
        "when the calls under way are recorded; a kill costs at most a repetition."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        duration = parser.add_mutually_exclusive_group()
        duration.add_argument(
            "--once", action="store_true", help="deliver what is due, then end"
        )
        duration.add_argument(
            "--check",
            action="store_true",
            help="say whether webhooks are delivered, then end",
        )
        duration.add_argument(
            "--seconds", type=seconds, default=float("inf"), help="end after so long"
        )

    def handle(
        self, *args: Any, once: bool, check: bool, seconds: float, **options: Any
    ) -> None:
        if check:
            found = health.look(database_now())
            if found.trouble:
                raise CommandError(f"Webhooks are {found.trouble}.")
            self.stdout.write(f"Webhooks are delivered; {found.waiting} wait.")
            return
        courier = Courier()
        if once:
            self.stdout.write(f"{courier.run_once()} sent")
            return
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stopping.announce())
        courier.run(seconds=seconds)
