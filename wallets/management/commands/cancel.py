"""`manage.py cancel`: take back a withdrawal with no attempt under way."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.errors import NotCancelable
from wallets.management.arguments import row_id
from wallets.management.base import DatabaseCommand
from wallets.models.transaction import Transaction
from wallets.services.withdrawal import WithdrawalService


class Command(DatabaseCommand):
    help = (
        "Cancel a withdrawal that is pending, or has failed and would be tried again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=row_id)
        parser.add_argument("--by", required=True, help="who you are")

    def handle(self, *args: Any, id: int, by: str, **options: Any) -> None:
        if not by.strip():
            raise CommandError("Say who cancels it: --by NAME.")
        try:
            WithdrawalService.cancel(id, actor=by)
        except Transaction.DoesNotExist:
            raise CommandError(f"No withdrawal {id}.") from None
        except NotCancelable as error:
            raise CommandError(f"Not cancelled: {error}") from None
        self.stdout.write(self.style.SUCCESS(f"withdrawal {id}: CANCELLED"))
