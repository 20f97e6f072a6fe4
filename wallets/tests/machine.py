"""A state machine that runs random stories of withdrawals, for `test_stateful`.

Everything runs in one thread with simulated clocks, and each story is rolled back. So
the steps of a story determine it completely. The bank uses all the time that it
declared. The database's clock is set, while elapsed time is not changed. Senders and
resolvers die or freeze between any two steps. The ledger is compared with the bank's
real payments.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from unittest import mock
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Min
from django.db.models.functions import Coalesce
from django.test import override_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from wallets.errors import IllegalTransition, InsufficientBalance
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit
from wallets.services.operations import pause, record, review
from wallets.services.payouts import claiming, look_up, moment, payout, resolver
from wallets.services.payouts.moment import Moment
from wallets.services.payouts.payout import Sending
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.reference import reference_of
from wallets.tests import builders
from wallets.tests.base import END_OF_TIME, OSCAR, utc
from wallets.tests.fakes import Does, FakeBank, InThisThread
from wallets.utils import clock
from wallets.utils.bank.interface import Abilities, Answer, Outcome, Payment

BEGIN = utc(2040, 1, 1)
BOOKING = 20.0
WINDOW = 600.0
# It begins with the last request.
LOOKUP_WINDOW = 1800.0
LOOKS_UP = {
    "looks_up": True,
    "booking_time": BOOKING,
    "lookup_window": LOOKUP_WINDOW,
}
BANKS = {
    "bare": Abilities(),
    "dedupes": Abilities(dedupes=True, dedupe_window=WINDOW),
    "looks up": Abilities(**LOOKS_UP),
    "able": Abilities(dedupes=True, dedupe_window=WINDOW, **LOOKS_UP),
}
# These banks are chosen more often: with one ability most cases are possible.
HELPFUL = ("dedupes", "looks up")
# As short as the order of the limits allows, so that a story reaches each of them.
TIMES = {
    "WITHDRAWAL_QUIET_PERIOD": settings.WITHDRAWAL_LEASE + 1,
    "WITHDRAWAL_CHECK_BASE": 5,
    "WITHDRAWAL_RETRY_BASE": 10,
}
TROUBLE = Answer(Outcome.UNKNOWN, "<h1>Error</h1>", 500)
MAX_ROUNDS = 300
SOME = st.integers(min_value=0, max_value=5)
# Unknown outcomes are chosen more often.
DOES = st.sampled_from([*Does, Does.PAY_SILENTLY, Does.BOOK_LATE, Does.BOOK_LATE])
# A repeated request is refused, or not sent, more often: it may have been paid before.
DOES_AGAIN = st.sampled_from([*Does, Does.REFUSE, Does.UNREACHABLE])
WHEN = st.sampled_from(["now", "now", "as late as it may", "too late"])
# The statement of its transactions in which a process dies; 0, mostly: it does not.
DIES_AT = st.sampled_from([0] * 12 + [1, 4, 7, 10])
# The same for a resolver; or the moment of its call at which it dies, or a bad answer.
TROUBLES = st.sampled_from([0] * 12 + [1, 4, 7, 10, "before", "after", "500"])
SECONDS = st.sampled_from([1, 4, 30, settings.WITHDRAWAL_LEASE, WINDOW])
# The steps of the database's clock, as when it is set, or after a failover.
STEPPED = st.sampled_from([30, 300, -30, -300, 86400, -86400])
# The machine of the next resolvers: each machine has its own elapsed clock.
MACHINES = st.sampled_from(["one", "one", "two"])


def step(name: str, **arguments: st.SearchStrategy) -> st.SearchStrategy:
    """Return a step of a story: the name of a method and its arguments."""
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


WORK = step("work", which=SOME, does=DOES, when=WHEN, dies_at=DIES_AT)
SWEEP = step(
    "sweep", times=st.sampled_from([1, 1, 2, 6]), does=DOES_AGAIN, trouble=TROUBLES
)
STEPS = st.one_of(
    step(
        "schedule",
        deposit=st.integers(0, 60),
        amount=st.integers(1, 60),
        wait=st.sampled_from([1, 100]),
    ),
    *[WORK] * 3,
    *[step("message", which=SOME, does=DOES)] * 2,
    step("pass_time", seconds=SECONDS),
    step("set_clock", seconds=STEPPED, machine=MACHINES),
    *[SWEEP] * 2,
    step(
        "somebody_acts",
        which=SOME,
        does=st.sampled_from(
            [
                *("cancel", "reschedule", "retry", "resolve", "resolve"),
                *("record", "pause"),
            ]
        ),
    ),
)


class Died(BaseException):
    """A process ended here. No handler of errors catches a `BaseException`."""


class TimedBank(FakeBank):
    """A bank that books as late and forgets as early as it may, and kills callers."""

    def __init__(self, abilities: Abilities, elapsed: Callable[[], float]) -> None:
        super().__init__(abilities)
        self._elapsed = elapsed
        self._late: list[tuple[float, Payment]] = []
        self._first_seen: dict[UUID, float] = {}
        self._last_seen: dict[UUID, float] = {}
        # When the next caller dies: "before" its bytes are sent, or "after" the answer.
        self.kills = ""
        # The calls whose callers froze before the first byte was sent.
        self.frozen: list[tuple[Payment, float]] = []

    def pay(self, payment: Payment, *, send_before: float = float("inf")) -> Answer:
        kills, self.kills = self.kills, ""
        if kills == "before":
            self.frozen.append((payment, send_before))
            raise Died
        answer = super().pay(payment, send_before=send_before)
        if kills:
            raise Died
        return answer

    def look_up(self, payment: Payment) -> Answer:
        kills, self.kills = self.kills, ""
        if kills:
            raise Died
        return super().look_up(payment)

    def catch_up(self, moment: float) -> None:
        """Do what is due at this moment: book late payments, forget old references."""
        for due, payment in self._late:
            if due <= moment:
                self._pay_late(payment)
        self._late = [late for late in self._late if late[0] > moment]
        known, window = self._first_seen, WINDOW
        if self._abilities.looks_up:
            known, window = self._last_seen, LOOKUP_WINDOW
        for reference, since in known.items():
            if since + window <= moment:
                self._remembered.pop(reference, None)

    def paid_before(self, payment: Payment) -> None:
        """Note a payment that the ledger, restored since, does not have."""
        self._pay(payment)

    def may_still_pay(self, references: set[UUID]) -> bool:
        return any(payment.reference in references for _, payment in self._late)

    def heal(self) -> None:
        """Switch the faults off: from now on it pays every request at once."""
        for _, payment in self._late:
            self._pay_late(payment)
        self._late.clear()
        self.script.clear()
        self.look_up_script.clear()
        self.kills = ""
        self.frozen.clear()

    def _deal_with(self, payment: Payment) -> Answer:
        now = self._elapsed()
        self._first_seen.setdefault(payment.reference, now)
        self._last_seen[payment.reference] = now
        answer = super()._deal_with(payment)
        # A bank without a look-up declares no booking time.
        slow = BOOKING if self._abilities.looks_up else 10 * BOOKING
        latest = now + settings.THIRD_PARTY_DEADLINE + slow
        self._late += [(latest, each) for each in self._booking]
        self._booking.clear()
        return answer


@dataclass
class Sender:
    """A process that has claimed a withdrawal; it has an answer after its call."""

    sending: Sending
    answer: Answer | None = None


@contextlib.contextmanager
def forgotten() -> Iterator[None]:
    """Open a transaction like that of a test case, and roll it back."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]
    with block:
        yield
        transaction.set_rollback(True)


@contextlib.contextmanager
def dying_at(number: int) -> Iterator[None]:
    """Let the process die in the N-th statement of its transactions; 0: never."""
    statements = itertools.count(1)

    def execute(run, sql, params, many, context):
        inside = not sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK"))
        if inside and next(statements) == number:
            raise Died
        return run(sql, params, many, context)

    with connection.execute_wrapper(execute) if number else contextlib.nullcontext():
        yield


class Story(RuleBasedStateMachine):
    """Clients, senders, resolvers, an operator and a bank, in any order of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        # The seconds by which the database's clock is ahead of elapsed time.
        self.ahead = 0.0
        self.is_stepped = False
        self.machine = "one"
        self.senders: list[Sender] = []
        self.withdrawals: list[int] = []
        self.deposited = 0
        self.stack = contextlib.ExitStack()
        enter = self.stack.enter_context
        enter(mock.patch.object(clock, "elapsed", self.elapsed))
        enter(mock.patch.object(clock, "machine", self.machine_name))
        enter(mock.patch.object(moment, "read", self.read_clocks))
        enter(mock.patch.object(resolver, "ThreadPoolExecutor", InThisThread))
        enter(override_settings(**TIMES))
        enter(forgotten())
        self.bank = TimedBank(BANKS["able"], clock.elapsed)
        self.wallet = builders.wallet_with(0)

    def elapsed(self) -> float:
        return self.seconds

    def machine_name(self) -> str:
        return self.machine

    def read_clocks(self, now: object = None, elapsed: object = None) -> Moment:
        """Return the clocks; only the database's is set, the hosts' are right."""
        host = BEGIN + timedelta(seconds=self.seconds)
        return Moment(self.now, host, self.seconds, self.machine)

    @property
    def now(self) -> datetime:
        """The time of the database's clock."""
        return BEGIN + timedelta(seconds=self.seconds + self.ahead)

    @initialize(
        bank=st.sampled_from(sorted(BANKS) + sorted(HELPFUL)),
        amount=st.integers(50, 200),
    )
    def begin(self, bank: str, amount: int) -> None:
        self.bank = TimedBank(BANKS[bank], clock.elapsed)
        self.schedule(deposit=amount, amount=20, wait=1)
        self.pass_time(1)

    # There is one rule: of several rules, Hypothesis omits most in most stories.
    @rule(what=STEPS)
    def happens(self, what: tuple[str, dict]) -> None:
        name, arguments = what
        getattr(self, name)(**arguments)

    # --- clients ---

    def schedule(self, deposit: int, amount: int, wait: int) -> None:
        """A client may deposit, and schedules a withdrawal, perhaps of too much."""
        if len(self.withdrawals) == 4:
            return
        if deposit:
            builders.deposit(self.wallet, deposit)
            self.deposited += deposit
        when = self.now + timedelta(seconds=wait)
        made = WithdrawalService.schedule(self.wallet.uuid, amount, when, now=self.now)
        self.withdrawals.append(made.pk)

    # --- workers ---

    def work(self, which: int, does: Does, when: str, dies_at: int) -> None:
        """One process does its next step: a new one claims, others call or record."""
        step = self.some([None, *self.senders, *self.bank.frozen], which)
        with contextlib.suppress(Died), dying_at(dies_at):
            if step is None:
                self.claim()
            elif step in self.bank.frozen:
                self.thaw(step)
            elif step.answer is None:
                self.call(step, does, when)
            else:
                self.record(step, again=when != "now")

    def claim(self) -> None:
        """A process claims what is due; if nothing is, time passes until then."""
        self.wait_for_what_is_due()
        for find in (claiming.find_retryable, claiming.find_due):
            claim = payout.claim(
                find(self.now), bank=self.bank.abilities, limit=2, now=self.now
            )
            self.senders += map(Sender, claim.sendings)

    def wait_for_what_is_due(self) -> None:
        waiting = Transaction.objects.filter(
            pk__in=self.withdrawals, status__in=("PENDING", "FAILED"), final=False
        )
        due = Coalesce("next_attempt_at", "scheduled_for")
        if (moment := waiting.aggregate(due=Min(due))["due"]) is not None:
            self.pass_time(max(0.0, (moment - self.now).total_seconds()))

    def call(self, sender: Sender, does: Does, when: str) -> None:
        """A sender calls, perhaps after a freeze, during which others go on."""
        sending = sender.sending
        if when == "as late as it may":
            self.pass_time(max(0.0, sending.send_before - 1 - self.seconds))
        elif when == "too late":
            self.sweep(times=6, does=Does.LOSE, trouble=0)
        self.bank.script.append(does)
        sender.answer = self.bank.pay(sending.payment, send_before=sending.send_before)
        self.bank.script.clear()

    def record(self, sender: Sender, again: bool) -> None:
        """A sender records, perhaps twice."""
        if not again:
            self.senders.remove(sender)
        payout.record([(sender.sending, sender.answer)], now=self.now)

    def thaw(self, call: tuple[Payment, float]) -> None:
        """A resolver that froze before sending sends, and dies before it records."""
        self.bank.frozen.remove(call)
        payment, send_before = call
        self.bank.pay(payment, send_before=send_before)

    def message(self, which: int, does: Does) -> None:
        """A message arrives: for a due withdrawal, or late, or a second time."""
        self.wait_for_what_is_due()
        retries = claiming.find_retryable(self.now).values_list("pk", flat=True)
        due = [*retries, *claiming.find_due(self.now).values_list("pk", flat=True)]
        self.bank.script.append(does)
        with contextlib.suppress(Transaction.DoesNotExist):
            WithdrawalService.execute(
                self.some(due or self.withdrawals, which),
                bank=self.bank,
                now=self.now,
            )
        self.bank.script.clear()

    # --- time, resolver, operator ---

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.bank.catch_up(self.seconds)

    def set_clock(self, seconds: float, machine: str) -> None:
        """The database's clock is set, and the next resolvers run on this machine."""
        self.ahead += seconds
        self.is_stepped = True
        self.machine = machine

    def sweep(self, times: int, does: Does, trouble: int | str) -> None:
        """Time passes until a check is due, and it is made; this many times."""
        for _ in range(times):
            due = Attempt.objects.filter(open=True).aggregate(at=Min("next_check_at"))
            if due["at"] is None:
                return
            moment = self.looked_at(due["at"])
            self.pass_time(max(0.0, (moment - self.now).total_seconds()))
            self.bank.kills = trouble if trouble in ("before", "after") else ""
            self.bank.look_up_script.extend([TROUBLE] * (trouble == "500"))
            self.resolve(does, trouble if isinstance(trouble, int) else 0)
            self.bank.look_up_script.clear()

    def somebody_acts(self, which: int, does: str) -> None:
        """A client or an operator acts."""
        if does == "resolve":
            # Only for attempts that the bank cannot book any more.
            rows = [row for row in review.waiting() if self.is_settled_at_bank(row.pk)]
            for row in rows[:1]:
                self.resolve_by_hand(row)
            return
        if does == "pause":
            self.try_while_paused()
            return
        pk = self.some(self.withdrawals, which)
        with contextlib.suppress(IllegalTransition, InsufficientBalance):
            if does == "record":
                self.record_by_hand(pk)
            elif does == "cancel":
                WithdrawalService.cancel(pk, now=self.now)
            elif does == "reschedule":
                self.reschedule(pk)
            else:
                WithdrawalService.retry_now(pk, actor=OSCAR)

    # --- invariants ---

    @invariant()
    def money_is_where_it_belongs(self) -> None:
        """Paid at most once; COMPLETED is paid, FAILED is not; the wallet is exact."""
        paid = Counter(self.bank.paid_references())
        times: Counter[int] = Counter()
        for number, reference in Attempt.objects.values_list(
            "transaction_id", "reference"
        ):
            times[number] += paid.pop(reference, 0)
        assert not paid, f"paid without an attempt: {paid}"
        sums: Counter[str] = Counter()
        rows = Transaction.objects.filter(pk__in=self.withdrawals)
        for pk, status, amount in rows.values_list("pk", "status", "amount"):
            sums[status] += amount
            assert times[pk] <= 1, f"{pk} is paid {times[pk]} times"
            if status != Transaction.Status.PROCESSING:
                is_paid = status == Transaction.Status.COMPLETED
                assert times[pk] == is_paid, f"{pk} {status} is paid {times[pk]} times"
        wallet = Wallet.objects.get(pk=self.wallet.pk)
        held = sums["PROCESSING"]
        expected = (self.deposited - held - sums["COMPLETED"], held)
        assert (wallet.balance, wallet.held) == expected, f"{wallet} {expected}"

    def teardown(self) -> None:
        """Without faults, everything reaches its final state."""
        try:
            if sys.exc_info()[0] is None:
                self.settle()
        finally:
            self.stack.close()

    def settle(self) -> None:
        self.senders.clear()
        self.bank.heal()
        for _ in range(MAX_ROUNDS):
            moment = self.next_moment()
            if moment is None:
                break
            self.pass_time(max(0.0, (moment - self.now).total_seconds()))
            self.sweep_all()
        for row in self.unfinished():
            self.check_that_only_a_person_can_help(row)
            self.resolve_by_hand(row)
        assert not self.unfinished(), self.unfinished()
        self.money_is_where_it_belongs()
        usual = (
            Alarm.Kind.NEEDS_REVIEW,
            Alarm.Kind.CONTRADICTION,
            Alarm.Kind.PAYOUTS_PAUSED,
        )
        assert not Alarm.objects.exclude(kind__in=usual)
        findings = list(ledger_audit.verify(now=END_OF_TIME))
        assert not findings, findings

    # --- helpers ---

    def looked_at(self, planned: datetime) -> datetime:
        """Return the time of a check: now, if its plan is from a clock set since."""
        set_since = planned > self.now + look_up.longest_plan()
        return self.now if set_since else planned

    def some(self, things, which: int):
        return things[which % len(things)]

    def resolve(self, does: Does = Does.PAY, dies_at: int = 0) -> None:
        self.bank.script.append(does)
        with contextlib.suppress(Died), dying_at(dies_at):
            resolver.resolve_due(bank=self.bank, limit=10, now=self.now)
        self.bank.script.clear()
        self.bank.kills = ""

    def sweep_all(self) -> None:
        for find in (claiming.find_due, claiming.find_retryable):
            claim = payout.claim(
                find(self.now), bank=self.bank.abilities, limit=10, now=self.now
            )
            answers = [
                (each, self.bank.pay(each.payment, send_before=each.send_before))
                for each in claim.sendings
            ]
            payout.record(answers, now=self.now)
        self.resolve()

    def is_settled_at_bank(self, pk: int) -> bool:
        rows = Attempt.objects.filter(transaction_id=pk)
        return not self.bank.may_still_pay(
            set(rows.values_list("reference", flat=True))
        )

    def resolve_by_hand(self, row: Transaction) -> None:
        paid = set(self.bank.paid_references())
        references = row.attempts.values_list("reference", flat=True)
        review.resolve(
            row.pk, paid=bool(paid & set(references)), evidence="the list", actor=OSCAR
        )

    def try_while_paused(self) -> None:
        """While payouts are paused, nothing is claimed and nothing is sent again."""
        pause.pause(reason="in doubt", actor=OSCAR)
        senders, requests = len(self.senders), len(self.bank.requests)
        self.claim()
        self.sweep(times=1, does=Does.PAY, trouble=0)
        assert (len(self.senders), len(self.bank.requests)) == (senders, requests)
        pause.resume(actor=OSCAR)

    def reschedule(self, pk: int) -> None:
        """Reschedule it, sooner or later. A request that was done stays done."""
        when = self.now + timedelta(seconds=30)
        was_done = Transaction.objects.filter(pk=pk, scheduled_for=when).exists()
        done = WithdrawalService.reschedule(pk, when, now=self.now)
        assert done.scheduled_for == when
        assert was_done or not done.waits_for_wallet
        assert was_done or not done.attempts.exists()

    def record_by_hand(self, pk: int) -> None:
        """Record a payment of the bank that a restored ledger does not have."""
        row = Transaction.objects.select_related("wallet").get(pk=pk)
        number = row.attempts.count() + 1
        done = record.record_paid(pk, evidence="the list", actor=OSCAR)
        reference = reference_of(done, self.wallet.uuid, number)
        self.bank.paid_before(Payment(reference, self.wallet.uuid, row.amount))

    def unfinished(self) -> list[Transaction]:
        rows = Transaction.objects.filter(pk__in=self.withdrawals)
        waiting = (State.COMPLETED, State.CANCELLED, State.FAILED_FINAL)
        return [row for row in rows if row.state not in waiting]

    def next_moment(self) -> datetime | None:
        """Return the time of the next automatic step; None if there is none."""
        moments: list[datetime] = []
        for row in self.unfinished():
            if row.state is State.PENDING:
                moments.append(row.scheduled_for)
            elif row.state is State.FAILED_RETRYABLE:
                moments.append(row.next_attempt_at)
            elif row.state is not State.NEEDS_REVIEW:
                moments.append(
                    self.looked_at(row.attempts.get(open=True).next_check_at)
                )
        return min(moments, default=None)

    def check_that_only_a_person_can_help(self, row: Transaction) -> None:
        assert row.state is State.NEEDS_REVIEW, f"{row} is stuck in {row.state}"
        if self.is_stepped or not self.bank.abilities.looks_up:
            return
        waited = (self.now - row.unknown_since).total_seconds()
        sent = row.attempts.get(open=True).last_sent_at
        forgotten = (self.now - sent).total_seconds() >= LOOKUP_WINDOW
        patience = settings.WITHDRAWAL_REVIEW_AFTER
        assert forgotten or waited >= patience, f"{row} could have been looked up"
