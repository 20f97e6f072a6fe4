"""`manage.py reconcile_bank`: do our books say what the bank's list says?"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.errors import StatementUnavailable
from wallets.management.arguments import moment
from wallets.management.base import DatabaseCommand
from wallets.services.operations import reconciliation
from wallets.utils import instants
from wallets.utils.third_party import get_bank


class Command(DatabaseCommand):
    help = (
        "Compare the books with the bank's list of payments; name what differs, and "
        "raise its alarm. Exit code 1 when something does."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        instant = "2026-11-22T00:00:00Z, or a date for its midnight in UTC"
        parser.add_argument(
            "--from",
            dest="since",
            type=moment,
            help=f"compare from this moment on, which the list goes back to: {instant}",
        )
        parser.add_argument(
            "--to", dest="until", type=moment, help=f"and up to this one: {instant}"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since, until = options["since"], options["until"]
        if since and until and since >= until:
            raise CommandError("--from must be before --to.")
        try:
            comparison = reconciliation.ask(get_bank(), since=since, until=until)
        except StatementUnavailable as error:
            raise CommandError(f"The bank's list cannot be had: {error}.") from None
        found = 0
        for finding in comparison.findings():
            found += 1
            self.stdout.write(f"{finding.check}: {finding.row}: {finding.detail}")
        if covered := _covered(comparison):
            self.stdout.write(covered)
        count = f"{len(comparison.lines)} payments"
        if found:
            raise CommandError(f"{found} differences in {count}.")
        self.stdout.write(self.style.SUCCESS(f"Books and bank agree: {count}."))


def _covered(comparison: reconciliation.Comparison) -> str:
    """For which time the books were searched for what the list has not, in words."""
    if comparison.covered is None:
        return (
            "The list is empty and covers no time: nothing of the books is missed. "
            "Say with --from how far back it goes."
        )
    start, end = comparison.covered
    if start >= end:
        return ""  # only what has just been paid
    span = f"from {instants.write(start)} to {instants.write(end)}"
    return f"Payments of the books {span} must be on the list."
