"""`manage.py run_events`: gives each change of the ledger its place in the feed."""

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from events.services import health, runner, sequencer
from wallets.management.arguments import seconds
from wallets.management.base import DatabaseCommand
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import stopping


class Command(DatabaseCommand):
    help = (
        "Give each committed change of the ledger its place in the feed of events, less "
        "than a second after its commit. Several may run. SIGTERM and Ctrl-C end it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        duration = parser.add_mutually_exclusive_group()
        duration.add_argument(
            "--once", action="store_true", help="until nothing is left, then end"
        )
        duration.add_argument(
            "--check",
            action="store_true",
            help="say whether the feed follows, then end",
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
                raise CommandError(f"The feed is {found.trouble}.")
            self.stdout.write(f"The feed follows: {found.position} events.")
            return
        if once:
            self.stdout.write(f"events {sequencer.catch_up()}")
            return
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stopping.announce())
        runner.run(seconds=seconds)
