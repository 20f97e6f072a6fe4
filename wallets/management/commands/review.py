"""`manage.py review`: withdrawals that only a person can conclude."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.errors import IllegalTransition, InvalidInput
from wallets.management.arguments import row_id
from wallets.management.base import DatabaseCommand
from wallets.models.transaction import Transaction
from wallets.services import review


class Command(DatabaseCommand):
    help = (
        "List the withdrawals that wait for a review, or resolve one: "
        "review resolve ID --paid|--not-paid --evidence TEXT --by NAME"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb")
        verbs.add_parser("list", help="what waits, the longest first (the default)")
        resolve = verbs.add_parser("resolve", help="conclude one")
        resolve.add_argument("id", type=row_id)
        outcome = resolve.add_mutually_exclusive_group(required=True)
        outcome.add_argument(
            "--paid", action="store_true", help="the bank has paid: settle it"
        )
        outcome.add_argument(
            "--not-paid",
            action="store_true",
            help="the bank has not paid and never will: give the money back",
        )
        resolve.add_argument("--evidence", required=True, help="how you know")
        resolve.add_argument("--by", required=True, help="who you are")

    def handle(self, *args: Any, verb: str | None, **options: Any) -> None:
        if verb == "resolve":
            self._resolve(options)
        else:
            self._list()

    def _resolve(self, options: dict[str, Any]) -> None:
        try:
            done = review.resolve(
                options["id"],
                paid=options["paid"],
                evidence=options["evidence"],
                actor=options["by"],
            )
        except Transaction.DoesNotExist:
            raise CommandError(
                f"No withdrawal {options['id']} was ever sent to the bank."
            ) from None
        except (IllegalTransition, InvalidInput) as error:
            raise CommandError(f"Not resolved: {error}") from None
        self.stdout.write(self.style.SUCCESS(f"withdrawal {done.pk}: {done.status}"))

    def _list(self) -> None:
        count = 0
        rows = review.waiting().prefetch_related("attempts")
        for withdrawal in rows.iterator(chunk_size=500):
            count += 1
            attempts = list(withdrawal.attempts.all())
            last = attempts[-1]
            self.stdout.write(
                f"{withdrawal.pk}  wallet {withdrawal.wallet.uuid}"
                f"  amount {withdrawal.amount}"
                f"  since {withdrawal.unknown_since:%Y-%m-%dT%H:%M:%SZ}"
                f"  attempts {len(attempts)}  reference {last.reference}"
                f"  last answer: {_one_line(last.answer) or 'none'}"
            )
        self.stdout.write(f"{count} waiting for a review")


def _one_line(text: str) -> str:
    """What the bank said, safe for a terminal."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else "?" for c in words)[:120]
