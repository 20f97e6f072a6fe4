"""`manage.py cancel`: cancels a withdrawal that has no open attempt."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.management.arguments import add_actor, row_id
from wallets.management.base import DatabaseCommand, refused
from wallets.models.transaction import Transaction
from wallets.services.withdrawal import WithdrawalService


class Command(DatabaseCommand):
    help = "Cancel a withdrawal that is pending, or has failed and waits for a retry."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=row_id)
        add_actor(parser)

    def handle(self, *args: Any, id: int, by: str, **options: Any) -> None:
        try:
            with refused("Not cancelled"):
                WithdrawalService.cancel(id, actor=by)
        except Transaction.DoesNotExist:
            raise CommandError(f"No withdrawal {id}.") from None
        self.stdout.write(self.style.SUCCESS(f"withdrawal {id}: CANCELLED"))
