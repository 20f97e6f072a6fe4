"""The story before a backup, after it, and after its restore; see `drills.restore`.

Each withdrawal has a different amount, which identifies it on the bank's list. Clients
remember their requests and answers; the restored ledger does not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
import uuid
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import CommandError, call_command  # noqa: E402

from drills.bank import KINDS, Kind, Simulator  # noqa: E402
from wallets.errors import InvalidSchedule  # noqa: E402
from wallets.models.alarm import Alarm  # noqa: E402
from wallets.models.attempt import Attempt  # noqa: E402
from wallets.models.transaction import Transaction  # noqa: E402
from wallets.models.wallet import Wallet  # noqa: E402
from wallets.services.operations import review  # noqa: E402
from wallets.services.payouts import attempt, payout, sweeper  # noqa: E402
from wallets.services.wallet import WalletService  # noqa: E402
from wallets.services.withdrawal import WithdrawalService  # noqa: E402
from wallets.services.withdrawals import reference  # noqa: E402
from wallets.utils import clock  # noqa: E402
from wallets.utils.database.transactions import database_now  # noqa: E402
from wallets.utils.third_party import get_bank  # noqa: E402

BY = ("--by", "oscar", "--evidence", "the bank's list")
SETTLE_SECONDS = 60
PAID_BEFORE, PENDING, REFUSED, UNKNOWN = 101, 102, 103, 104
WITH_KEY, WITHOUT_KEY, AFTERWARDS, OPEN = 105, 106, 107, 108
ALL = (
    *(PAID_BEFORE, PENDING, REFUSED, UNKNOWN),
    *(WITH_KEY, WITHOUT_KEY, AFTERWARDS, OPEN),
)


class Clients:
    """What clients remember, in a file outside of the backup."""

    def __init__(self) -> None:
        self._file = Path(os.environ["DRILL_FOLDER"]) / "clients.json"
        self.known: dict[str, Any] = (
            json.loads(self._file.read_text()) if self._file.exists() else {}
        )

    def note(self, name: str, value: Any) -> None:
        self.known[name] = str(value)
        self._file.write_text(json.dumps(self.known))

    def wallet(self) -> uuid.UUID:
        return uuid.UUID(self.known["wallet"])

    def withdraw(self, amount: int, *, key: uuid.UUID | None = None) -> Transaction:
        """Request a withdrawal, and remember its key.

        A repeated call sends the same request. If the ledger does not have it any more
        and its time has passed, the request gets a new time.
        """
        known = self.known.get(f"when {amount}")
        for first in (known, None):
            when = (
                datetime.fromisoformat(first)
                if first
                else database_now() + timedelta(seconds=1)
            )
            with contextlib.suppress(InvalidSchedule):
                made = WithdrawalService.schedule(
                    self.wallet(), amount, when, idempotency_key=key
                )
                self.note(f"key {amount}", made.idempotency_key)
                self.note(f"when {amount}", when.isoformat())
                return made
        raise SystemExit(f"{amount} could not be asked for")

    def key(self, amount: int) -> uuid.UUID:
        return uuid.UUID(self.known[f"key {amount}"])


def settle(*, bank: Simulator | None = None) -> None:
    """Sweep until nothing is due, waits for a retry, or is unknown."""
    ends = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < ends:
        sweeper.run_once()
        status = Transaction.Status
        under_way = Transaction.objects.filter(
            status__in=[status.PENDING, status.PROCESSING], needs_review=False
        )
        retries = Transaction.objects.filter(status=status.FAILED, final=False)
        if not under_way.exists() and not retries.exists():
            return
        time.sleep(0.2)
    raise SystemExit("it did not settle")


def conclude_open_attempts(kind: Kind) -> None:
    """Sweep until no attempt is open; a bank with dedupe is not asked while paused."""
    ends = time.monotonic() + (3 if kind.dedupes else SETTLE_SECONDS)
    under_way = Transaction.objects.filter(status="PROCESSING", needs_review=False)
    while time.monotonic() < ends and under_way.exists():
        sweeper.run_once()
        time.sleep(0.1)


def before(clients: Clients, bank: Simulator, kind: Kind) -> None:
    """Before the backup: paid, pending, refused with a retry to come, unknown, open."""
    call_command("migrate", verbosity=0)
    bank.become("normal", kind)
    clients.note("wallet", WalletService.create().uuid)
    WalletService.deposit(clients.wallet(), 10_000)
    clients.withdraw(PAID_BEFORE)
    settle()
    for amount, fault in ((REFUSED, "refuse"), (UNKNOWN, "accept_close")):
        bank.become(fault, kind)
        asked = clients.withdraw(amount)
        _execute_when_due(asked)
    bank.become("normal", kind)
    Transaction.objects.filter(amount=REFUSED).update(
        # Its retry is due after the backup, however slow the machine is.
        next_attempt_at=database_now()
        + timedelta(seconds=3)
    )
    asked = clients.withdraw(OPEN)
    _wait_until_due(asked)
    rows = Transaction.objects.filter(pk=asked.pk)
    payout.claim(rows, bank=get_bank().abilities, limit=1)
    clients.withdraw(PENDING)


def _execute_when_due(withdrawal: Transaction) -> None:
    _wait_until_due(withdrawal)
    WithdrawalService.execute(withdrawal.pk)


def _wait_until_due(withdrawal: Transaction) -> None:
    wait = (withdrawal.scheduled_for - database_now()).total_seconds()  # type: ignore[operator]
    time.sleep(max(0.0, wait) + 0.05)


def forgotten(clients: Clients, bank: Simulator, kind: Kind) -> None:
    """After the backup: all is paid, more is requested and paid.

    The bank refuses the attempt that was open, and pays the next one.
    """
    open_attempt = Attempt.objects.select_related("transaction__wallet").get(
        transaction__amount=OPEN
    )
    sending = payout.sending(open_attempt, clock.elapsed())
    bank.become("refuse", kind)
    answer = get_bank().pay(sending.payment, send_before=float("inf"))
    payout.record([(sending, answer)])
    bank.become("normal", kind)
    key = uuid.uuid4()
    clients.note("deposit key", uuid.uuid4())
    WalletService.deposit(clients.wallet(), 50, uuid.UUID(clients.known["deposit key"]))
    clients.withdraw(WITH_KEY, key=key)
    clients.withdraw(WITHOUT_KEY)
    settle()
    resolve_reviews(bank)


def resolve_reviews(bank: Simulator) -> None:
    """Conclude the withdrawals in review, by the bank's list."""
    paid = references(bank)
    for withdrawal in review.waiting():
        (last,) = withdrawal.attempts.order_by("-number")[:1]
        # After a restore the bank may have paid a later attempt than the last one.
        possible = reference.references_of(withdrawal, withdrawal.wallet.uuid)
        found = {str(each) for each in (last.reference, *possible)} & paid.keys()
        verdict = "--paid" if found else "--not-paid"
        call_command("review", "resolve", str(withdrawal.pk), verdict, *BY)


def references(bank: Simulator) -> dict[str, int]:
    """Return the bank's list: amounts by reference."""
    return {line["reference"]: line["amount"] for line in bank.call("GET", "/payments")}


def after(clients: Clients, bank: Simulator, kind: Kind) -> None:
    """Follow the runbook, repeat the clients' requests, and check."""
    settings.WITHDRAWALS_PAUSED = (
        True  # as the environment says, before anything starts
    )
    call_command("migrate", verbosity=0)
    call_command("check", database=["default"])
    call_command("verify_ledger")
    # An impatient client repeats its request before the operator acts.
    clients.withdraw(WITH_KEY, key=clients.key(WITH_KEY))
    conclude_open_attempts(kind)
    if not kind.dedupes:
        record_what_the_bank_paid(clients, bank)
    resolve_reviews(bank)

    settings.WITHDRAWALS_PAUSED = False
    WalletService.deposit(clients.wallet(), 50, uuid.UUID(clients.known["deposit key"]))
    for amount in (WITH_KEY, WITHOUT_KEY):
        # The key is the client's own, or the one of the first answer.
        clients.withdraw(amount, key=clients.key(amount))
    clients.withdraw(AFTERWARDS)
    settle()
    resolve_reviews(bank)
    judge(clients, bank)


def record_what_the_bank_paid(clients: Clients, bank: Simulator) -> None:
    """Record what `reconcile_bank` names, with the service's commands."""
    said = io.StringIO()
    with contextlib.suppress(CommandError):  # there are differences
        call_command("reconcile_bank", stdout=said)
    for name, amount in references(bank).items():
        if name not in said.getvalue():
            continue  # no difference: the books have it
        waiting = Transaction.objects.filter(
            amount=amount, status__in=["PENDING", "FAILED"], final=False
        ).first()
        payment = ("--reference", name, *BY)
        if waiting is not None:
            call_command("review", "record", str(waiting.pk), *payment)
        elif not Transaction.objects.filter(amount=amount).exists():
            call_command(
                "record_payment",
                *("--wallet", str(clients.wallet()), "--amount", str(amount)),
                *("--key", str(clients.key(amount))),
                *("--scheduled-for", clients.known[f"when {amount}"]),
                *payment,
            )


def judge(clients: Clients, bank: Simulator) -> None:
    """Check that each withdrawal is paid once, and that the ledger says so.

    :raises SystemExit: with all errors.
    """
    wrong = []
    paid = Counter(line["amount"] for line in bank.call("GET", "/payments"))
    for amount in ALL:
        rows = Transaction.objects.filter(amount=amount, transaction_type="WITHDRAWAL")
        if paid[amount] != 1:
            wrong.append(f"{amount}: the bank paid {paid[amount]} times")
        statuses = list(rows.values_list("status", flat=True))
        if statuses != ["COMPLETED"]:
            wrong.append(f"{amount}: the books have {statuses}")
    balance = Wallet.objects.get(uuid=clients.wallet()).balance
    if balance != 10_000 + 50 - sum(ALL):
        wrong.append(f"balance {balance}")
    left = Alarm.objects.filter(acknowledged_at=None, kind=Alarm.Kind.PAID_TWICE)
    wrong += [f"alarm: {alarm}" for alarm in left]
    if wrong:
        raise SystemExit("\n".join(wrong))
    call_command("verify_ledger")
    call_command("reconcile_bank")


class _Running(Simulator):
    """The simulator that `drills.restore` has started."""

    def __init__(self, url: str) -> None:
        self.port = int(url.rpartition(":")[2])


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("life", choices=["before", "forgotten", "after"])
    parser.add_argument("--bank", choices=KINDS, required=True)
    parser.add_argument("--broken", choices=["references"])
    options = parser.parse_args(arguments)
    if options.broken == "references":
        # Created once, for payments that the restored ledger does not have.
        attempt.reference_of = reference.reference_of = lambda *_: uuid.uuid4()
    lives = {"before": before, "forgotten": forgotten, "after": after}
    bank = _Running(settings.THIRD_PARTY_BASE_URL)
    lives[options.life](Clients(), bank, KINDS[options.bank])


if __name__ == "__main__":
    main(sys.argv[1:])
