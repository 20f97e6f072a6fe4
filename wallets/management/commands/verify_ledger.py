"""`manage.py verify_ledger`: verifies the ledger. Exit code 0: it is right."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.management.base import DatabaseCommand
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit
from wallets.utils.database.transactions import read_snapshot

BAR_WIDTH = 30


class Command(DatabaseCommand):
    help = (
        "Verify every balance against its movements, and that the database still has its"
        " triggers, constraints and keys; name what is wrong."
    )

    _bar_open = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--max", type=int, default=100, help="stop after so many findings"
        )

    def handle(self, *args: Any, max: int, **options: Any) -> None:
        with read_snapshot():
            total = Wallet.objects.count()
            found = 0
            for finding in ledger_audit.audit(self._bar(total)):
                found += 1
                self._end_bar()
                self.stdout.write(f"{finding.check}: {finding.row}: {finding.detail}")
                if found >= max:
                    break
        self._end_bar()
        if found:
            raise CommandError(f"The books are wrong: {found} findings.")
        self.stdout.write(self.style.SUCCESS(f"The books are right: {total} wallets."))

    def _bar(self, total: int) -> Any:
        if not (hasattr(self.stderr, "isatty") and self.stderr.isatty()):
            return lambda done: None
        step = total // 200 or 1

        def show(done: int) -> None:
            if done % step == 0 or done == total:
                filled = BAR_WIDTH * done // total
                bar = "#" * filled + "." * (BAR_WIDTH - filled)
                self.stderr.write(f"\r[{bar}] {done}/{total} wallets", ending="")
                self.stderr.flush()
                self._bar_open = True

        return show

    def _end_bar(self) -> None:
        """Let the next output begin on a new line."""
        if self._bar_open:
            self.stderr.write("")
            self._bar_open = False
