"""The bank's settings are changed while attempts are open."""

from __future__ import annotations

from dataclasses import replace

from django.conf import settings
from django.test import SimpleTestCase, override_settings

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.payouts import sent_to
from wallets.tests.fakes import ABLE, DEDUPES_ONLY, LOOKS_UP_ONLY, Does, FakeBank
from wallets.tests.unknowns import LEASE, PAID, QUIET, REFUSED, ResolverTestCase
from wallets.utils import third_party
from wallets.utils.bank.interface import Abilities


class MarkTest(SimpleTestCase):
    def test_fits_its_column(self) -> None:
        longest = replace(
            ABLE, dedupe_window=1.23456789e300, lookup_window=1.23456789e300
        )
        self.assertLessEqual(len(sent_to.mark(longest)), 64)

    def test_does_not_contain_the_address(self) -> None:
        bank = Abilities(address="https://user:secret@bank.example")
        self.assertNotIn("secret", sent_to.mark(bank))

    def test_differs_for_each_bank_that_is_configured(self) -> None:
        third_party._bank_of.cache_clear()
        self.addCleanup(third_party._bank_of.cache_clear)
        marks = set()
        for address in ("http://a.example", "http://b.example"):
            third_party._bank_of.cache_clear()
            with override_settings(THIRD_PARTY_BASE_URL=address):
                marks.add(sent_to.mark(third_party.get_bank().abilities))
        self.assertEqual(len(marks), 2)

    def test_counts_an_ability_as_far_as_it_was_declared_both_times(self) -> None:
        for then, now, counts in (
            (ABLE, ABLE, ABLE),
            (ABLE, LOOKS_UP_ONLY, LOOKS_UP_ONLY),
            (replace(ABLE, lookup_window=60), ABLE, replace(ABLE, lookup_window=60)),
            (ABLE, replace(ABLE, dedupe_window=60), replace(ABLE, dedupe_window=60)),
        ):
            with self.subTest(then=then, now=now):
                attempt = Attempt(sent_to=sent_to.mark(then))
                found = sent_to.abilities_for(attempt, now)
                self.assertEqual(
                    (found.looks_up, found.lookup_window, found.dedupes),
                    (counts.looks_up, counts.lookup_window, counts.dedupes),
                )
                if found.dedupes:
                    self.assertEqual(found.dedupe_window, counts.dedupe_window)

    def test_believes_the_present_bank_about_what_an_earlier_release_sent(self) -> None:
        self.assertIs(sent_to.abilities_for(Attempt(), ABLE), ABLE)


class ChangedBankTest(ResolverTestCase):
    """The outcome is unknown, and the settings of the bank have changed since."""

    abilities = LOOKS_UP_ONLY

    def unknown_at(self, then: Abilities, now: Abilities) -> Transaction:
        """Paid silently by one bank; then another one is configured."""
        self.bank = FakeBank(then)
        withdrawal = self.unknown(Does.PAY_SILENTLY)
        self.bank = FakeBank(now)
        return withdrawal

    def assert_reviewed_and_never_sent(self, withdrawal: Transaction) -> None:
        for at in (LEASE, QUIET, QUIET + 60, QUIET + 600):
            self.resolve(at)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(withdrawal.alarms.get().kind, Alarm.Kind.NEEDS_REVIEW)
        self.assertEqual(self.bank.requests, [])
        self.assert_held()

    def test_goes_to_review_when_another_bank_does_not_find_it(self):
        other = replace(LOOKS_UP_ONLY, address="http://b.example")
        withdrawal = self.unknown_at(LOOKS_UP_ONLY, other)
        self.assert_reviewed_and_never_sent(withdrawal)

    def test_goes_to_review_when_another_bank_says_that_it_refused(self):
        other = replace(LOOKS_UP_ONLY, address="http://b.example")
        withdrawal = self.unknown_at(LOOKS_UP_ONLY, other)
        self.bank.look_up_script.extend([REFUSED] * 4)
        self.assert_reviewed_and_never_sent(withdrawal)

    def test_goes_to_review_when_another_bank_would_dedupe(self):
        other = replace(DEDUPES_ONLY, address="http://b.example")
        withdrawal = self.unknown_at(DEDUPES_ONLY, other)
        self.assert_reviewed_and_never_sent(withdrawal)

    def test_goes_to_review_when_the_look_up_was_declared_later(self):
        withdrawal = self.unknown_at(Abilities(), LOOKS_UP_ONLY)
        self.assert_reviewed_and_never_sent(withdrawal)

    def test_goes_to_review_when_dedupe_was_declared_later(self):
        withdrawal = self.unknown_at(Abilities(), DEDUPES_ONLY)
        self.assert_reviewed_and_never_sent(withdrawal)

    def test_is_settled_when_the_bank_at_the_new_address_has_paid_it(self):
        moved = replace(LOOKS_UP_ONLY, address="http://b.example")
        withdrawal = self.unknown_at(LOOKS_UP_ONLY, moved)
        self.resolve(LEASE, PAID)
        self.assert_state(withdrawal, State.COMPLETED)

    def test_is_released_when_nothing_has_changed(self):
        withdrawal = self.unknown_at(LOOKS_UP_ONLY, LOOKS_UP_ONLY)
        for at in (QUIET, QUIET + 60):
            self.resolve(at)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)

    def test_is_sent_again_when_nothing_has_changed(self):
        withdrawal = self.unknown_at(DEDUPES_ONLY, DEDUPES_ONLY)
        self.resolve(settings.WITHDRAWAL_LEASE)
        self.assert_state(withdrawal, State.COMPLETED)
