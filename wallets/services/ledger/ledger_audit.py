"""Verifies the ledger: reads everything, changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, Sum

from wallets.models.attempt import Attempt
from wallets.models.ledger import Account, Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger.correction_audit import verify_corrections
from wallets.services.ledger.finding import Finding
from wallets.services.ledger.history_audit import verify_histories
from wallets.services.ledger.parent_audit import verify_parents
from wallets.services.ledger.postings import effect
from wallets.services.ledger.return_audit import verify_returns
from wallets.services.ledger.schedule_audit import verify_schedules
from wallets.services.ledger.time_audit import (
    Unreadable,
    goes_back,
    verify_last_times,
    verify_times,
)
from wallets.services.ledger.transfer_audit import verify_transfers
from wallets.services.ledger.wallet_audit import verify_lives
from wallets.services.operations import safeguards
from wallets.utils.database import readable
from wallets.utils.database.transactions import database_now

Part = Callable[[], Iterator[Finding]]

CHUNK = 2000
# MySQL's driver holds all rows of a query, so a query covers this many wallets.
WALLETS_AT_ONCE = 500
# The tolerated difference of the clocks of servers that replace each other.
TOLERATED = timedelta(seconds=10)
# Which kinds of movements a transaction may have.
_KIND_OF_TYPE = (
    Q(kind="deposit", transaction__transaction_type="DEPOSIT")
    | Q(
        kind__in=["hold", "settle", "release"],
        transaction__transaction_type="WITHDRAWAL",
    )
    | Q(kind="transfer_out", transaction__transaction_type="TRANSFER_OUT")
    | Q(kind="transfer_in", transaction__transaction_type="TRANSFER_IN")
    | Q(kind="correction_out", transaction__transaction_type="CORRECTION_OUT")
    | Q(kind="correction_in", transaction__transaction_type="CORRECTION_IN")
    | Q(kind="return", transaction__transaction_type="RETURN")
)
_Row = tuple[Any, ...]
_READ = ("wallet_id", "pk", "kind", "amount", "sequence", "balance_after")
_NOBODYS: tuple[int, Iterable[_Row]] = (0, ())


def audit(progress: Callable[[int], None] = lambda done: None) -> Iterator[Finding]:
    """Yield what is wrong with the ledger, and which constraints are missing.

    See `verify`. Before all migrations are applied, that itself is reported instead of
    missing constraints.
    """
    if why := safeguards.unchecked(connection):
        yield Finding("schema", "the database", why)
    else:
        for lost in safeguards.lost(connection):
            yield Finding("schema", "the database", lost)
    yield from verify(progress)


def verify(
    progress: Callable[[int], None] = lambda done: None,
    *,
    now: datetime | None = None,
    without: Collection[Part] = (),
) -> Iterator[Finding]:
    """Yield all that is wrong with the ledger; nothing if it is right.

    Call inside `utils.database.transactions.read_snapshot`, because money moves while it reads. `now`
    replaces the database's clock, `without` leaves out some of PARTS. Reads the statements of
    some hundred wallets at a time, in bounded memory, and calls `progress` with the
    number of wallets done.
    """
    done = 0
    lost = Unreadable()
    wallets = Wallet.objects.all()
    for some in readable.in_chunks(wallets, WALLETS_AT_ONCE, lost.of("wallet")):
        yield from lost.findings()
        if not some:
            continue
        moment = now or database_now()
        for wallet, movements in _with_movements(some):
            yield from _verify_wallet(wallet, movements)
            yield from _verify_dates(wallet, moment)
            done += 1
            progress(done)
    for part in PARTS:
        if part not in without:
            yield from part()


def _with_movements(wallets: list[Wallet]) -> Iterator[tuple[Wallet, Iterable[_Row]]]:
    """Yield each of these consecutive wallets with its movements. One query."""
    rows = Movement.objects.filter(
        wallet__gte=wallets[0].pk, wallet__lte=wallets[-1].pk
    ).order_by("wallet_id", "sequence")
    read = rows.values_list(*_READ, goes_back()).iterator(chunk_size=CHUNK)
    statements = groupby(read, key=itemgetter(0))
    owner, statement = next(statements, _NOBODYS)
    for wallet in wallets:
        while 0 < owner < wallet.pk:
            owner, statement = next(statements, _NOBODYS)
        yield wallet, statement if owner == wallet.pk else ()


def _verify_wallet(wallet: Wallet, movements: Iterable[_Row]) -> Iterator[Finding]:
    """Replay the wallet's statement and compare numbers and balances."""
    balance = held = count = 0
    name = f"wallet {wallet.uuid}"
    for _, pk, kind, amount, sequence, balance_after, is_back in movements:
        count += 1
        if kind in Movement.Kind.values:
            balance += effect(Account.WALLET, kind, amount)
            held += effect(Account.IN_FLIGHT, kind, amount)
        else:
            yield Finding("movement_kind", f"movement {pk}", f"{name}: kind {kind!r}")
        if sequence != count:
            detail = f"{name}: expected number {count}, found {sequence}"
            yield Finding("statement_gap", f"movement {pk}", detail)
            count = sequence
        if balance_after != balance:
            detail = f"{name}: expected {balance} after it, found {balance_after}"
            yield Finding("running_balance", f"movement {pk}", detail)
            balance = balance_after
        if is_back:
            detail = f"{name}: its time is before that of the movement before it"
            yield Finding("movement_back_in_time", f"movement {pk}", detail)
    for check, stored, expected in (
        ("stored_balance", wallet.balance, balance),
        ("stored_held", wallet.held, held),
        ("movement_count", wallet.movement_count, count),
    ):
        if stored != expected:
            yield Finding(check, name, f"stored {stored}, movements say {expected}")


def _verify_dates(wallet: Wallet, now: datetime) -> Iterator[Finding]:
    """The wallet's last movement must not be dated later than now."""
    ahead = wallet.updated_at - now
    if wallet.movement_count and ahead > TOLERATED:
        yield Finding(
            "dated_ahead",
            f"wallet {wallet.uuid}",
            f"its last movement is dated {wallet.updated_at:%Y-%m-%d %H:%M:%S} UTC, "
            f"{ahead.total_seconds():.0f} s after the database's clock",
        )


def _verify_in_flight() -> Iterator[Finding]:
    """The money in flight must be that of the PROCESSING withdrawals."""
    total = Sum("amount")
    into = Movement.objects.filter(to_account=Account.IN_FLIGHT).aggregate(t=total)["t"]
    out = Movement.objects.filter(from_account=Account.IN_FLIGHT).aggregate(t=total)
    processing = Transaction.objects.filter(
        status=Transaction.Status.PROCESSING
    ).aggregate(t=total)["t"]
    in_flight = (into or 0) - (out["t"] or 0)
    if in_flight != (processing or 0):
        detail = f"movements say {in_flight}, PROCESSING withdrawals {processing or 0}"
        yield Finding("in_flight", "in flight", detail)


def _verify_attempts() -> Iterator[Finding]:
    """An attempt must have one hold, and the right end exactly if it is closed."""
    expected_end = {
        Attempt.Outcome.ACCEPTED.value: Movement.Kind.SETTLE.value,
        Attempt.Outcome.NONE.value: None,
        Attempt.Outcome.UNKNOWN.value: None,
    }
    lost = Unreadable()
    rows = Attempt.objects.select_related("transaction")
    for attempts in readable.in_chunks(rows, CHUNK, lost.of("attempt")):
        yield from lost.findings()
        ids = {attempt.transaction_id for attempt in attempts}
        kinds: dict[tuple[int, int], Counter[str]] = {}
        movements = Movement.objects.filter(
            transaction_id__in=ids, attempt_number__gte=1
        )
        for tx, number, kind in movements.values_list(
            "transaction_id", "attempt_number", "kind"
        ):
            kinds.setdefault((tx, number), Counter())[kind] += 1
        for attempt in attempts:
            end = expected_end.get(attempt.outcome, Movement.Kind.RELEASE.value)
            expected = Counter({Movement.Kind.HOLD.value: 1})
            if end:
                expected[end] += 1
            found = kinds.get((attempt.transaction_id, attempt.number), Counter())
            if found != expected:
                detail = f"movements {dict(found)}, expected {dict(expected)}"
                yield Finding("attempt_movements", f"attempt {attempt}", detail)


def _verify_transactions() -> Iterator[Finding]:
    """Status and money must agree: deposits, amounts, attempts, paid withdrawals."""
    wrong_amount = Movement.objects.exclude(amount=F("transaction__amount"))
    foreign = Movement.objects.exclude(wallet=F("transaction__wallet"))
    for name, strays in (("amount", wrong_amount), ("wallet", foreign)):
        for pk in strays.values_list("pk", flat=True):
            yield Finding(f"movement_{name}", f"movement {pk}", "not the transaction's")
    for pk, kind in Movement.objects.exclude(_KIND_OF_TYPE).values_list("pk", "kind"):
        detail = f"{kind} does not belong to its transaction's type"
        yield Finding("movement_type", f"movement {pk}", detail)
    attempt = Attempt.objects.filter(
        transaction=OuterRef("transaction"), number=OuterRef("attempt_number")
    )
    orphans = Movement.objects.filter(~Exists(attempt), attempt_number__gte=1)
    for pk in orphans.values_list("pk", flat=True):
        yield Finding("movement_attempt", f"movement {pk}", "of no attempt")
    deposits = Transaction.objects.filter(
        transaction_type=Transaction.TransactionType.DEPOSIT, movements__isnull=True
    )
    for pk in deposits.values_list("pk", flat=True):
        yield Finding("deposit_movement", f"transaction {pk}", "deposit without money")
    unknown = Transaction.objects.exclude(status__in=Transaction.Status.values)
    for pk, status in unknown.values_list("pk", "status"):
        yield Finding("status", f"transaction {pk}", f"unknown status {status!r}")
    processing = Q(status=Transaction.Status.PROCESSING)
    homeless = Transaction.objects.filter(processing).exclude(attempts__open=True)
    stray = Transaction.objects.filter(attempts__open=True).exclude(processing)
    for rows in (homeless, stray):
        for pk, status in rows.values_list("pk", "status"):
            detail = f"{status} and its open attempt do not agree"
            yield Finding("open_attempt", f"transaction {pk}", detail)
    unpaid = Transaction.objects.filter(
        transaction_type=Transaction.TransactionType.WITHDRAWAL,
        status=Transaction.Status.COMPLETED,
    ).exclude(attempts__outcome=Attempt.Outcome.ACCEPTED)
    paid = Transaction.objects.filter(
        attempts__outcome=Attempt.Outcome.ACCEPTED
    ).exclude(status=Transaction.Status.COMPLETED)
    for rows in (unpaid, paid):
        for pk, status in rows.values_list("pk", "status"):
            detail = f"{status} does not agree with its attempts"
            yield Finding("completed_is_paid", f"transaction {pk}", detail)


# What is verified after the wallets' statements.
PARTS: tuple[Part, ...] = (
    _verify_in_flight,
    _verify_attempts,
    _verify_transactions,
    verify_schedules,
    verify_transfers,
    verify_corrections,
    verify_returns,
    verify_lives,
    verify_times,
    verify_last_times,
    verify_parents,
    verify_histories,
)
