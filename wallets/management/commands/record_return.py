"""`manage.py record_return`: records that the bank has sent a payment back."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.management.arguments import add_actor, amount, row_id
from wallets.management.base import DatabaseCommand, refused
from wallets.models.transaction import Transaction
from wallets.services.operations import payment_return


class Command(DatabaseCommand):
    help = (
        "Record that the bank has sent back what it had paid for a withdrawal, as from a "
        "closed account. The money goes back to the wallet, and the withdrawal stays "
        "COMPLETED. Nothing is sent. A withdrawal is returned once; the same record "
        "again changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=row_id, help="the withdrawal")
        parser.add_argument(
            "--amount",
            type=amount,
            required=True,
            help="minor units that came back; less than was paid, if the bank kept a fee",
        )
        parser.add_argument(
            "--reference", required=True, help="what the bank calls the return"
        )
        parser.add_argument(
            "--reason", required=True, help="why, such as: the account is closed"
        )
        add_actor(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with refused("Not recorded"):
                done = payment_return.record_return(
                    options["id"],
                    options["amount"],
                    return_reference=options["reference"],
                    reason=options["reason"],
                    actor=options["by"],
                )
        except Transaction.DoesNotExist:
            raise CommandError(f"No withdrawal {options['id']}.") from None
        self.stdout.write(
            self.style.SUCCESS(
                f"withdrawal {done.withdrawal_id}: {done.amount} of {done.paid} returned"
                f" by transaction {done.credit_id}"
            )
        )
