"""`manage.py reconcile_bank`: do our books say what the bank's list says?"""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from wallets.errors import StatementUnavailable
from wallets.management.base import DatabaseCommand
from wallets.services import bank_statement
from wallets.utils.bank_statement import fetch_statement


class Command(DatabaseCommand):
    help = "Compare the books with the bank's list of payments; name what differs."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            lines = fetch_statement(settings.THIRD_PARTY_BASE_URL)
        except StatementUnavailable as error:
            raise CommandError(f"The bank's list cannot be had: {error}.") from None
        found = 0
        for finding in bank_statement.compare(lines):
            found += 1
            self.stdout.write(f"{finding.check}: {finding.row}: {finding.detail}")
        if found:
            raise CommandError(f"{found} differences in {len(lines)} payments.")
        self.stdout.write(
            self.style.SUCCESS(f"Books and bank agree: {len(lines)} payments.")
        )
