"""The table of states: its own rules, the design, the diagram, and the services."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

from django.conf import settings
from django.test import SimpleTestCase

from wallets.errors import IllegalTransition
from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.states import TRANSITIONS, Event, Rule, State, rule_for
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.operations import record, review
from wallets.services.payouts import payout, resolver, transition
from wallets.services.payouts.transition import StateChange
from wallets.services.wallets import life
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import diagram, marks
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.tests.clocks import StandingClock
from wallets.tests.fakes import ABLE, BARE, DEDUPES_ONLY, Does
from wallets.utils.bank.interface import Answer, Outcome

ALL = set(product(State, Event))
HELD = {State.SENDING, State.UNKNOWN, State.NEEDS_REVIEW}
ENDS = {State.COMPLETED, State.FAILED_FINAL, State.CANCELLED}
HOLD, SETTLE, RELEASE, NONE = "hold", "settle", "release", None
HOLD_SETTLE = "hold+settle"  # a payment that the ledger did not have

# The table of the design, copied by hand: from, event, to, money. A second row of a
# state and event would be a contradiction. "Message: paid" after the end is no event:
# it raises an alarm (test_resolver).
DESIGN = (
    (State.PENDING, Event.CANCEL, State.CANCELLED, NONE),
    (State.PENDING, Event.CLAIM, State.SENDING, HOLD),
    (State.PENDING, Event.INSUFFICIENT, State.FAILED_FINAL, NONE),
    (State.SENDING, Event.ACCEPTED, State.COMPLETED, SETTLE),
    (State.SENDING, Event.REJECTED, State.FAILED_RETRYABLE, RELEASE),
    (State.SENDING, Event.NOT_SENT, State.FAILED_RETRYABLE, RELEASE),
    (State.SENDING, Event.UNKNOWN, State.UNKNOWN, NONE),
    (State.UNKNOWN, Event.FOUND_PAID, State.COMPLETED, SETTLE),
    (State.UNKNOWN, Event.FOUND_NOTHING, State.FAILED_RETRYABLE, RELEASE),
    (State.UNKNOWN, Event.RESEND, State.SENDING, NONE),
    (State.UNKNOWN, Event.ASK_REVIEW, State.NEEDS_REVIEW, NONE),
    (State.NEEDS_REVIEW, Event.RESOLVE_PAID, State.COMPLETED, SETTLE),
    (State.NEEDS_REVIEW, Event.RESOLVE_NOT_PAID, State.FAILED_FINAL, RELEASE),
    (State.FAILED_RETRYABLE, Event.CLAIM, State.SENDING, HOLD),
    (State.FAILED_RETRYABLE, Event.INSUFFICIENT, State.FAILED_FINAL, NONE),
    (State.FAILED_RETRYABLE, Event.CANCEL, State.CANCELLED, NONE),
    (State.PENDING, Event.RECORD_PAID, State.COMPLETED, HOLD_SETTLE),
    (State.FAILED_RETRYABLE, Event.RECORD_PAID, State.COMPLETED, HOLD_SETTLE),
)
# What is due in a frozen wallet, and was scheduled to fail then.
FROZEN = (
    (State.PENDING, Event.FROZEN, State.FAILED_FINAL, NONE),
    (State.FAILED_RETRYABLE, Event.FROZEN, State.FAILED_FINAL, NONE),
)
# An operator may act before the scheduled time.
RETRY = ((State.FAILED_RETRYABLE, Event.RETRY_NOW, State.FAILED_RETRYABLE, NONE),)
# A client may choose another time before the first attempt.
RESCHEDULED = ((State.PENDING, Event.RESCHEDULE, State.PENDING, NONE),)
# The design's rule for an answer is also valid for a late answer and for a look-up.
# Late answers count only if they are proof.
LATE = (
    (State.UNKNOWN, Event.ACCEPTED, State.COMPLETED, SETTLE),
    (State.UNKNOWN, Event.REJECTED, State.FAILED_RETRYABLE, RELEASE),
    (State.UNKNOWN, Event.NOT_SENT, State.FAILED_RETRYABLE, RELEASE),
    (State.UNKNOWN, Event.FOUND_REJECTED, State.FAILED_RETRYABLE, RELEASE),
    (State.NEEDS_REVIEW, Event.ACCEPTED, State.COMPLETED, SETTLE),
    (State.NEEDS_REVIEW, Event.FOUND_PAID, State.COMPLETED, SETTLE),
)


class TransitionTableTest(SimpleTestCase):
    def test_says_what_the_design_says_row_by_row(self):
        listed = {(state, event): Rule(to, money) for state, event, to, money in DESIGN}
        more = {
            (state, event): Rule(to, money)
            for state, event, to, money in LATE + RETRY + FROZEN + RESCHEDULED
        }
        self.assertEqual(len(listed), len(DESIGN), "the design contradicts itself")
        self.assertEqual(TRANSITIONS, listed | more)

    def test_has_a_rule_or_none_for_every_state_and_event(self):
        for state, event in sorted(ALL, key=str):
            with self.subTest(state=state.value, event=event.value):
                self.assertEqual(
                    rule_for(state, event), TRANSITIONS.get((state, event))
                )

    def test_makes_a_failure_final_when_no_retry_is_left(self):
        for state, event in sorted(ALL, key=str):
            with self.subTest(state=state.value, event=event.value):
                rule = rule_for(state, event)
                last = rule_for(state, event, last_retry=True)
                if rule is None or rule.to is not State.FAILED_RETRYABLE:
                    self.assertEqual(last, rule)
                else:
                    self.assertEqual(last, Rule(State.FAILED_FINAL, rule.money))

    def test_gives_each_state_one_public_status(self):
        self.assertEqual(
            {state: state.status for state in State},
            {
                State.PENDING: "PENDING",
                State.SENDING: "PROCESSING",
                State.UNKNOWN: "PROCESSING",
                State.NEEDS_REVIEW: "PROCESSING",
                State.COMPLETED: "COMPLETED",
                State.FAILED_RETRYABLE: "FAILED",
                State.FAILED_FINAL: "FAILED",
                State.CANCELLED: "CANCELLED",
            },
        )
        self.assertEqual(
            {state.status for state in State}, set(Transaction.Status.values)
        )

    def test_reaches_every_state_and_leaves_all_but_the_ends(self):
        reached, before = {State.PENDING}, set()
        while reached != before:
            before = set(reached)
            reached |= {
                rule.to for (at, _), rule in TRANSITIONS.items() if at in reached
            }
            # The table itself does not have the last failure.
            if State.FAILED_RETRYABLE in reached:
                reached.add(State.FAILED_FINAL)
        self.assertEqual(reached, set(State))
        self.assertEqual(set(State) - {state for state, _ in TRANSITIONS}, ENDS)

    def test_uses_every_event(self):
        self.assertEqual({event for _, event in TRANSITIONS}, set(Event))

    def test_moves_money_exactly_where_holding_begins_and_ends(self):
        for (state, event), rule in TRANSITIONS.items():
            expected = {
                (False, True): HOLD,
                (False, False): HOLD_SETTLE if rule.to is State.COMPLETED else NONE,
                (True, True): NONE,
                (True, False): SETTLE if rule.to is State.COMPLETED else RELEASE,
            }[(state in HELD, rule.to in HELD)]
            with self.subTest(state=state.value, event=event.value):
                self.assertEqual(rule.money, expected)

    def test_never_gives_money_back_without_proof(self):
        for event in (Event.UNKNOWN, Event.ASK_REVIEW, Event.RESEND):
            for state in State:
                rule = rule_for(state, event)
                self.assertNotEqual(rule and rule.money, RELEASE)

    def test_moves_only_kinds_of_money_that_the_ledger_has(self):
        kinds = {kind for rule in TRANSITIONS.values() for kind in rule.movements}
        self.assertLessEqual(kinds, set(Movement.Kind.values))


class DiagramTest(SimpleTestCase):
    def test_shows_the_table_as_it_is(self):
        self.assertEqual(
            diagram.written(),
            diagram.render(),
            f"ARCHITECTURE.md lags behind models/states.py: run {diagram.COMMAND}",
        )


class ReachedStates(WalletTestCase):
    """Brings withdrawals into each state, through the services and a scripted bank."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.time = StandingClock()
        self.time.start()
        self.addCleanup(self.time.stop)

    def at(self, seconds: float, call: Callable[..., object], *args, **options):
        return call(*args, now=self.after(seconds), **options)

    def claimed(self) -> tuple[Transaction, payout.Sending]:
        withdrawal = self.due_withdrawal(100)
        self.time.stand_at(0)
        (sending,) = payout.claim(
            Transaction.objects.filter(pk=withdrawal.pk),
            bank=self.bank.abilities,
            limit=1,
            now=self.now,
        ).sendings
        return withdrawal, sending

    def execute(self, withdrawal: Transaction, *does: Does, at: float = 0) -> None:
        self.bank.script.extend(does)
        self.time.stand_at(at)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.after(at))

    def record(self, sending: payout.Sending, outcome: Outcome, at: float = 0) -> None:
        answer = Answer(outcome, f"the bank: {outcome.value}")
        payout.record([(sending, answer)], now=self.after(at))

    def resolve(self, at: float, abilities=None) -> None:
        self.bank._abilities = abilities or self.bank.abilities
        self.time.stand_at(at)
        resolver.resolve_due(bank=self.bank, limit=10, now=self.after(at))

    def pending(self) -> Transaction:
        return self.due_withdrawal(100)

    def sending(self) -> Transaction:
        return self.claimed()[0]

    def unknown(self, does: Does = Does.LOSE) -> Transaction:
        withdrawal = self.due_withdrawal(100)
        self.execute(withdrawal, does)
        return withdrawal

    def in_review(self) -> Transaction:
        withdrawal = self.unknown()
        self.resolve(settings.WITHDRAWAL_LEASE, BARE)
        return withdrawal

    def completed(self) -> Transaction:
        withdrawal = self.due_withdrawal(100)
        self.execute(withdrawal)
        return withdrawal

    def failed(self) -> Transaction:
        withdrawal = self.due_withdrawal(100)
        self.execute(withdrawal, Does.REFUSE)
        return withdrawal

    def failed_for_good(self) -> Transaction:
        withdrawal = self.due_withdrawal(10**9)
        self.execute(withdrawal)
        return withdrawal

    def cancelled(self) -> Transaction:
        return WithdrawalService.cancel(self.due_withdrawal(100).pk)

    def in_state(self, state: State) -> Transaction:
        withdrawal = {
            State.PENDING: self.pending,
            State.SENDING: self.sending,
            State.UNKNOWN: self.unknown,
            State.NEEDS_REVIEW: self.in_review,
            State.COMPLETED: self.completed,
            State.FAILED_RETRYABLE: self.failed,
            State.FAILED_FINAL: self.failed_for_good,
            State.CANCELLED: self.cancelled,
        }[state]()
        withdrawal.refresh_from_db()
        assert withdrawal.state is state, (withdrawal.state, state)
        return withdrawal


class IllegalTransitionTest(ReachedStates):
    def test_is_refused_and_writes_nothing(self):
        for state in State:
            withdrawal = self.in_state(state)
            tables = (Transaction, Attempt, Movement, Transition)
            before = [list(table.objects.order_by("pk").values()) for table in tables]
            for event in Event:
                if (state, event) in TRANSITIONS:
                    continue
                with (
                    self.subTest(state=state.value, event=event.value),
                    self.assertRaises(IllegalTransition) as got,
                ):
                    transition.apply(
                        [StateChange(withdrawal, event)], actor="x", now=self.now
                    )
                self.assertEqual(got.exception.state, state.value)
                self.assertEqual(got.exception.event, event.value)
            after = [list(table.objects.order_by("pk").values()) for table in tables]
            self.assertEqual(before, after)

    def test_stops_the_whole_batch_before_anything_is_written(self):
        good, bad = self.pending(), self.completed()
        bad.refresh_from_db()
        moves = [StateChange(good, Event.CANCEL), StateChange(bad, Event.CANCEL)]
        with self.assertRaises(IllegalTransition):
            transition.apply(moves, actor="x", now=self.now)
        good.refresh_from_db()
        self.assertIs(good.state, State.PENDING)


class LegalTransitionTest(ReachedStates):
    """Each rule of the table, applied by the services."""

    QUIET = 200  # seconds: longer than the quiet period

    def lived(self, state: State, event: Event) -> Transaction:
        """Apply the event to a withdrawal in this state; return it."""
        if state is State.PENDING:
            return self.lived_pending(event)
        if state is State.SENDING:
            withdrawal, sending = self.claimed()
            self.record(sending, Outcome(event.value))
            return withdrawal
        if state is State.UNKNOWN:
            return self.lived_unknown(event)
        if state is State.NEEDS_REVIEW:
            return self.lived_review(event)
        withdrawal = self.failed()
        if event is Event.RETRY_NOW:
            return WithdrawalService.retry_now(withdrawal.pk, actor=OSCAR)
        if event is Event.CANCEL:
            return WithdrawalService.cancel(withdrawal.pk)
        if event is Event.RECORD_PAID:
            return self.recorded(withdrawal)
        if event is Event.FROZEN:
            return self.met_a_freeze(withdrawal, at=3600)
        if event is Event.INSUFFICIENT:
            self.alice.refresh_from_db()
            self.execute(self.due_withdrawal(self.alice.balance))
        self.execute(withdrawal, at=3600)
        return withdrawal

    def lived_pending(self, event: Event) -> Transaction:
        if event is Event.CANCEL:
            return self.cancelled()
        if event is Event.RESCHEDULE:
            return WithdrawalService.reschedule(self.pending().pk, self.after(3600))
        if event is Event.RECORD_PAID:
            return self.recorded(self.pending())
        if event is Event.FROZEN:
            return self.met_a_freeze(self.pending())
        return self.completed() if event is Event.CLAIM else self.failed_for_good()

    def met_a_freeze(self, withdrawal: Transaction, at: float = 0) -> Transaction:
        """Let it be due while its wallet is frozen; it was scheduled to fail then."""
        Transaction.objects.filter(pk=withdrawal.pk).update(fails_if_frozen=True)
        life.freeze(self.alice.uuid, "out", reason="a test", actor=OSCAR)
        self.execute(withdrawal, at=at)
        life.unfreeze(self.alice.uuid, "out", reason="a test", actor=OSCAR)
        return withdrawal

    def recorded(self, withdrawal: Transaction) -> Transaction:
        return record.record_paid(
            withdrawal.pk, evidence="the bank's list", actor=OSCAR
        )

    def lived_unknown(self, event: Event) -> Transaction:
        if event in (Event.ACCEPTED, Event.REJECTED, Event.NOT_SENT):
            withdrawal, sending = self.claimed()
            self.resolve(settings.WITHDRAWAL_LEASE)
            self.record(sending, Outcome(event.value), at=61)
            return withdrawal
        if event is Event.FOUND_PAID:
            withdrawal = self.unknown(Does.PAY_SILENTLY)
            self.resolve(60, ABLE)
        elif event is Event.FOUND_REJECTED:
            withdrawal = self.unknown()
            self.bank.look_up_script.append(Answer(Outcome.REJECTED, "refused"))
            self.resolve(60, ABLE)
        elif event is Event.FOUND_NOTHING:
            withdrawal = self.unknown()
            self.resolve(self.QUIET, ABLE)
            self.resolve(2 * self.QUIET, ABLE)
        else:
            withdrawal = self.unknown()
            self.resolve(60, DEDUPES_ONLY if event is Event.RESEND else BARE)
        return withdrawal

    def lived_review(self, event: Event) -> Transaction:
        if event is Event.ACCEPTED:
            withdrawal, sending = self.claimed()
            self.resolve(settings.WITHDRAWAL_LEASE, BARE)
            self.record(sending, Outcome.ACCEPTED, at=settings.WITHDRAWAL_LEASE + 1)
        elif event is Event.FOUND_PAID:
            withdrawal = self.unknown()
            patience = settings.WITHDRAWAL_REVIEW_AFTER
            self.bank.look_up_script.append(Answer(Outcome.UNKNOWN))
            self.resolve(patience, ABLE)
            self.bank.look_up_script.append(Answer(Outcome.ACCEPTED, "paid"))
            self.resolve(patience + 3600, ABLE)
        else:
            withdrawal = self.in_review()
            paid = event is Event.RESOLVE_PAID
            review.resolve(withdrawal.pk, paid=paid, evidence="seen", actor=OSCAR)
        return withdrawal

    def assert_lived(self, withdrawal: Transaction, rule: Rule, row: Transition):
        """Check the row's state and its movements."""
        self.assertEqual(row.to_state, rule.to.value)
        attempt = row.attempt_number or 0
        moved = Movement.objects.filter(
            transaction=withdrawal, attempt_number=attempt, kind__in=rule.movements
        )
        self.assertEqual(moved.count(), len(rule.movements))

    @marks.slow
    def test_happens_as_the_table_says(self):
        for (state, event), rule in TRANSITIONS.items():
            with self.subTest(state=state.value, event=event.value):
                withdrawal = self.lived(state, event)
                rows = withdrawal.transitions.filter(
                    event=event.value, from_state=state.value
                )
                self.assertEqual(
                    rows.count(), 1, list(withdrawal.transitions.values_list())
                )
                self.assert_lived(withdrawal, rule, rows.get())
                self.deposit(1000)

    def test_is_final_after_the_last_retry_on_every_way_to_fail(self):
        for (state, event), rule in TRANSITIONS.items():
            if rule.to is not State.FAILED_RETRYABLE:
                continue
            withdrawal = self.in_state(state)
            withdrawal.retry_count = settings.WITHDRAWAL_MAX_RETRIES
            move = StateChange(withdrawal, event, last_retry=True)
            with self.subTest(state=state.value, event=event.value):
                self.assertIs(move.rule().to, State.FAILED_FINAL)

    def test_leaves_a_history_without_gaps(self):
        withdrawal = self.unknown()
        self.resolve(self.QUIET, ABLE)
        self.resolve(2 * self.QUIET, ABLE)
        self.execute(withdrawal, at=2 * self.QUIET + 3600)

        life = list(withdrawal.transitions.order_by("sequence"))
        self.assertEqual([row.sequence for row in life], list(range(len(life))))
        for earlier, later in pairwise(life):
            self.assertEqual(later.from_state, earlier.to_state)
        self.assertEqual(
            [row.event for row in life],
            ["schedule", "claim", "unknown", "found_nothing", "claim", "accepted"],
        )
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.version, life[-1].sequence)
