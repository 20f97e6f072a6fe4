"""`manage.py reconcile_bank`: compares the ledger with the bank's list."""

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
        "Compare the books with the bank's list of payments; name each difference, and "
        "raise its alarm. Exit code 1 if there is one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        instant = "2026-11-22T00:00:00Z, or a date for its midnight in UTC"
        parser.add_argument(
            "--from",
            dest="since",
            type=moment,
            help=f"the beginning, to which the list goes back: {instant}",
        )
        parser.add_argument(
            "--to", dest="until", type=moment, help=f"the end: {instant}"
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
    """Return in words for which time the list must have the payments."""
    if comparison.covered is None:
        return (
            "The list is empty and covers no time: nothing of the books is missed. "
            "Say with --from how far back it goes."
        )
    start, end = comparison.covered
    if start >= end:
        return ""  # the list covers only the latest payments
    span = f"from {instants.write(start)} to {instants.write(end)}"
    return f"Payments of the books {span} must be on the list."
