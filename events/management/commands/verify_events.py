"""`manage.py verify_events`: verifies the feed. Exit code 0: it is right."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from events.services import feed, verify
from wallets.management.base import DatabaseCommand
from wallets.utils.database.transactions import read_snapshot


class Command(DatabaseCommand):
    help = (
        "Verify that each movement and each change of a withdrawal is in the feed of "
        "events once and in order; name what is wrong."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--max", type=int, default=100, help="stop after so many findings"
        )

    def handle(self, *args: Any, max: int, **options: Any) -> None:
        with read_snapshot():
            found = 0
            for finding in verify.verify():
                found += 1
                self.stdout.write(f"{finding.check}: {finding.row}: {finding.detail}")
                if found >= max:
                    break
            events, waiting = feed.last_position(), verify.waiting()
        if found:
            raise CommandError(f"The feed is wrong: {found} findings.")
        self.stdout.write(
            self.style.SUCCESS(
                f"The feed is right: {events} events; {waiting} changes wait for theirs."
            )
        )
