"""`manage.py correct`: take back what a deposit or a transfer moved wrongly."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.errors import DamagedRows
from wallets.management.arguments import add_actor, amount, one_line, row_id, row_uuid
from wallets.management.base import DatabaseCommand, refused
from wallets.models.transaction import Transaction
from wallets.services.corrections import correction
from wallets.services.corrections.correction import Correctable


class Command(DatabaseCommand):
    help = (
        "Take back all or part of a deposit or a transfer: `correct show ID` says what "
        "can be corrected and changes nothing, `correct post ID --amount N --reason TEXT "
        "--by NAME` does it. Of a transfer, the money goes back to the wallet that paid."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        show = verbs.add_parser("show", help="what can be corrected; changes nothing")
        show.add_argument("id", type=row_id, help="the transaction")
        post = verbs.add_parser("post", help="correct it")
        post.add_argument("id", type=row_id, help="the transaction")
        post.add_argument(
            "--amount", type=amount, required=True, help="minor units to take back"
        )
        post.add_argument("--reason", required=True, help="why it was wrong")
        post.add_argument(
            "--key",
            type=row_uuid,
            help="a UUID of your own: repeated with it, the command corrects once",
        )
        add_actor(post)

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        try:
            with refused("Not corrected"):
                if verb == "post":
                    self._post(options)
                else:
                    self._show(correction.look(options["id"]))
        except Transaction.DoesNotExist:
            raise CommandError(f"No transaction {options['id']}.") from None
        except DamagedRows as error:
            raise CommandError(f"Damaged, run verify_ledger: {error}") from None

    def _post(self, options: dict[str, Any]) -> None:
        done = correction.correct(
            options["id"],
            options["amount"],
            reason=options["reason"],
            actor=options["by"],
            idempotency_key=options["key"],
        )
        self.stdout.write(
            self.style.SUCCESS(
                f"transaction {done.corrects_id}: {done.amount} taken back by"
                f" transaction {done.debit_id}, {done.left_after} left"
            )
        )

    def _show(self, found: Correctable) -> None:
        row = found.transaction
        self.stdout.write(
            f"transaction {row.pk}  {row.transaction_type}  amount {row.amount}"
            f"  {row.created_at:%Y-%m-%dT%H:%M:%SZ}"
        )
        self.stdout.write(
            f"takes from wallet {row.wallet.uuid}, which has" f" {row.wallet.balance}"
        )
        if found.payer is not None:
            self.stdout.write(
                f"gives back to wallet {found.payer.wallet.uuid}, which paid by"
                f" transaction {found.payer.pk}"
            )
        for one in found.corrections:
            self.stdout.write(
                f"corrected {one.amount}  {one.created_at:%Y-%m-%dT%H:%M:%SZ}"
                f"  by {one_line(one.actor)}: {one_line(one.reason)}"
            )
        self.stdout.write(f"{found.left} left to correct")
