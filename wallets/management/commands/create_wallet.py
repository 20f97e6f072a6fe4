"""`manage.py create_wallet`: creates a wallet, if needed with a known UUID."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.errors import Refusal
from wallets.management.arguments import row_uuid, tenant
from wallets.management.base import DatabaseCommand
from wallets.services.wallet import WalletService


class Command(DatabaseCommand):
    help = (
        "Create an empty wallet. With --uuid: one that a restored backup does not have "
        "and a client still uses."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--uuid", type=row_uuid, help="its UUID (default: a new one)"
        )
        parser.add_argument("--tenant", type=tenant, help="its tenant (default: none)")
        parser.add_argument(
            "--by", default="manage.py create_wallet", help="who creates it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            wallet = WalletService.create(
                wallet_uuid=options["uuid"],
                tenant=options["tenant"] or "",
                actor=options["by"],
            )
        except Refusal as error:
            raise CommandError(f"Not opened: {error}") from None
        self.stdout.write(self.style.SUCCESS(f"wallet {wallet.uuid}"))
