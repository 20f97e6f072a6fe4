"""`manage.py record_payment`: records a payment without a withdrawal in the ledger."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.management.arguments import add_payment, amount, instant, row_uuid
from wallets.management.base import DatabaseCommand, refused
from wallets.models.wallet import Wallet
from wallets.services.operations import record


class Command(DatabaseCommand):
    help = (
        "Record a payment of the bank whose withdrawal is missing, as after a restored "
        "backup. Nothing is sent. If the withdrawal exists, use `review record`."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--wallet", type=row_uuid, required=True)
        parser.add_argument("--amount", type=amount, required=True, help="minor units")
        parser.add_argument(
            "--key",
            type=row_uuid,
            help="the client's idempotency key, if it is known",
        )
        parser.add_argument(
            "--scheduled-for",
            type=instant,
            help="the scheduled time, if it is known, such as 2026-02-17T12:00:00Z",
        )
        add_payment(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        wallet = options["wallet"]
        try:
            with refused("Not recorded"):
                done = record.record_payment(
                    wallet,
                    options["amount"],
                    key=options["key"],
                    reference=options["reference"],
                    scheduled_for=options["scheduled_for"],
                    paid_at=options["paid_at"],
                    evidence=options["evidence"],
                    actor=options["by"],
                )
        except Wallet.DoesNotExist:
            raise CommandError(
                f"No wallet {wallet}. If the books have forgotten it, too: `manage.py "
                f"create_wallet --uuid {wallet}`, have its deposits made again, then "
                "repeat this."
            ) from None
        self.stdout.write(
            self.style.SUCCESS(f"withdrawal {done.pk}: {done.status}, {done.amount}")
        )
