"""`manage.py review`: withdrawals that only an operator can conclude."""

from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from wallets.management.arguments import add_actor, add_payment, one_line, row_id
from wallets.management.base import DatabaseCommand, refused
from wallets.models.attempt import Attempt
from wallets.models.review_proposal import ReviewProposal
from wallets.models.transaction import Transaction
from wallets.services.operations import record, review
from wallets.utils.database import readable


class Command(DatabaseCommand):
    help = (
        "List the withdrawals in review, resolve one, or record that the bank has paid "
        "a withdrawal that has not begun here: "
        "review resolve ID --paid|--not-paid --evidence TEXT --by NAME, "
        "review record ID --reference UUID --evidence TEXT --by NAME"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb")
        verbs.add_parser(
            "list",
            help="withdrawals in review, the longest waiting first (the default)",
        )
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
        add_actor(resolve)
        recording = verbs.add_parser(
            "record", help="record a payment of a withdrawal that has not begun here"
        )
        recording.add_argument("id", type=row_id)
        add_payment(recording)

    def handle(self, *args: Any, verb: str | None, **options: Any) -> None:
        if verb == "resolve":
            self._resolve(options)
        elif verb == "record":
            self._record(options)
        else:
            self._list()

    def _resolve(self, options: dict[str, Any]) -> None:
        try:
            with refused("Not resolved"):
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
        if done.needs_review:
            self.stdout.write(
                f"withdrawal {done.pk}: proposed as not paid; another person must "
                "confirm it, with the same command and a --by of their own"
            )
            return
        self.stdout.write(self.style.SUCCESS(f"withdrawal {done.pk}: {done.status}"))

    def _record(self, options: dict[str, Any]) -> None:
        try:
            with refused("Not recorded"):
                done = record.record_paid(
                    options["id"],
                    reference=options["reference"],
                    paid_at=options["paid_at"],
                    evidence=options["evidence"],
                    actor=options["by"],
                )
        except Transaction.DoesNotExist:
            raise CommandError(
                f"No withdrawal {options['id']}. For one that the books do not have, use "
                "`manage.py record_payment`."
            ) from None
        self.stdout.write(self.style.SUCCESS(f"withdrawal {done.pk}: {done.status}"))

    def _list(self) -> None:
        count = 0
        waiting = review.waiting()
        pks = list(waiting.values_list("pk", flat=True))
        whole = waiting.prefetch_related("attempts", "review_proposals")
        for start in range(0, len(pks), 500):
            some = whole.filter(pk__in=pks[start : start + 500])
            found: list[Transaction] = readable.rows(some, self._tell_damaged)
            for withdrawal in found:
                count += 1
                self._tell(withdrawal)
        self.stdout.write(f"{count + self._damaged} waiting for a review")

    _damaged = 0

    def _tell(self, withdrawal: Transaction) -> None:
        self.stdout.write(
            f"{withdrawal.pk}  wallet {withdrawal.wallet.uuid}"
            f"  amount {withdrawal.amount}"
            f"{_asked(withdrawal.unknown_since, list(withdrawal.attempts.all()))}"
            f"{_proposed(withdrawal.review_proposals.all())}"
        )

    def _tell_damaged(self, pk: int, _error: Exception) -> None:
        self._damaged += 1
        self.stdout.write(f"{pk}  damaged, run verify_ledger")


def _asked(since: datetime | None, attempts: list[Attempt]) -> str:
    if since is None or not attempts:
        return "  damaged, run verify_ledger"
    last = attempts[-1]
    return (
        f"  since {since:%Y-%m-%dT%H:%M:%SZ}"
        f"  attempts {len(attempts)}  reference {last.reference}"
        f"  last answer: {one_line(last.answer, 120) or 'none'}"
    )


def _proposed(proposals: Iterable[ReviewProposal]) -> str:
    return "".join(
        f"  proposed as not paid by {one_line(one.proposed_by)}: {one_line(one.evidence)}"
        for one in proposals
    )
