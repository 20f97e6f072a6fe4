"""The system checks: the service does not start with unsafe settings."""

import math

from django.conf import settings
from django.core.checks import Error, run_checks
from django.db import connection
from django.test import SimpleTestCase, override_settings

from wallets import checks
from wallets.tests.base import CommittingTestCase


def ids(messages):
    return [message.id for message in messages]


class LimitsTest(SimpleTestCase):
    def test_are_in_order_as_shipped(self):
        self.assertEqual(checks.limits_are_in_order(), [])

    def test_are_refused_in_any_other_order(self):
        names = (
            "WITHDRAWAL_SOFT_TIME_LIMIT",
            "WITHDRAWAL_HARD_TIME_LIMIT",
            "WITHDRAWAL_LEASE",
            "WITHDRAWAL_QUIET_PERIOD",
        )
        for name in names:
            with self.subTest(name), override_settings(**{name: 1}):
                self.assertIn("wallets.E001", ids(checks.limits_are_in_order()))
        too_long = settings.WITHDRAWAL_SOFT_TIME_LIMIT
        with override_settings(THIRD_PARTY_DEADLINE=too_long):
            self.assertEqual(ids(checks.limits_are_in_order()), ["wallets.E001"])

    def test_are_refused_if_one_is_not_a_number(self):
        for name in ("WITHDRAWAL_QUIET_PERIOD", "THIRD_PARTY_DEADLINE"):
            with self.subTest(name), override_settings(**{name: math.nan}):
                self.assertIn("wallets.E001", ids(checks.limits_are_in_order()))

    def test_are_checked_with_everything_else(self):
        with override_settings(WITHDRAWAL_LEASE=1):
            self.assertIn("wallets.E001", ids(run_checks()))


class CurrencyTest(SimpleTestCase):
    def test_is_one_of_the_standard_as_shipped(self):
        self.assertEqual(checks.currencies_exist(), [])

    def test_is_refused_by_the_name_of_its_setting(self):
        for name in ("DEFAULT_CURRENCY", "THIRD_PARTY_CURRENCY"):
            for code in ("", "eur", "EURO", "ZZZ", "XAU", "XXX", "**", "IRR,EUR"):
                with self.subTest(name, code=code), override_settings(**{name: code}):
                    (found,) = checks.currencies_exist()
                    self.assertEqual(found.id, "wallets.E007")
                    self.assertTrue(found.msg.startswith(f"{name} ({code!r})"))

    def test_is_any_only_for_the_bank(self):
        with override_settings(THIRD_PARTY_CURRENCY="*"):
            self.assertEqual(checks.currencies_exist(), [])
        with override_settings(DEFAULT_CURRENCY="*"):
            self.assertEqual(ids(checks.currencies_exist()), ["wallets.E007"])


class LookUpWindowTest(SimpleTestCase):
    def test_is_long_enough_as_shipped(self):
        with override_settings(THIRD_PARTY_LOOKUP=True):
            self.assertEqual(checks.not_found_can_be_believed(), [])

    def test_is_warned_of_when_not_found_could_never_be_proof(self):
        # The quiet period, and the distance: the longest call and the booking time.
        needed = (
            settings.WITHDRAWAL_QUIET_PERIOD
            + settings.THIRD_PARTY_DEADLINE
            + settings.THIRD_PARTY_BOOKING_TIME
        )
        for window, warned in ((0, True), (needed, True), (needed + 1, False)):
            with self.subTest(window=window):
                changed = {
                    "THIRD_PARTY_LOOKUP": True,
                    "THIRD_PARTY_LOOKUP_WINDOW": window,
                }
                with override_settings(**changed):
                    found = ids(checks.not_found_can_be_believed())
                self.assertEqual(found, ["wallets.W010"] * warned)

    def test_does_not_matter_to_a_bank_that_has_no_look_up(self):
        changed = {"THIRD_PARTY_LOOKUP": False, "THIRD_PARTY_LOOKUP_WINDOW": 0}
        with override_settings(**changed):
            self.assertEqual(checks.not_found_can_be_believed(), [])


class SecretKeyTest(SimpleTestCase):
    def test_is_refused_when_this_machine_made_it(self):
        with override_settings(SECRET_KEY_IS_MADE=True):
            self.assertEqual(ids(checks.secret_key_is_own()), ["wallets.E002"])

    def test_is_accepted_when_it_is_set(self):
        with override_settings(SECRET_KEY_IS_MADE=False):
            self.assertEqual(checks.secret_key_is_own(), [])


class SessionTest(CommittingTestCase):
    bend = {
        "sqlite": "PRAGMA synchronous=OFF",
        "postgresql": "SET default_transaction_isolation = 'serializable'",
        "mysql": "SET SESSION sql_mode = ''",
    }

    def test_is_safe_by_default(self):
        self.assertEqual(checks.sessions_are_safe(databases=["default"]), [])

    def test_is_refused_with_other_settings(self):
        self.addCleanup(connection.close)  # the next test opens a normal connection
        with connection.cursor() as cursor:
            cursor.execute(self.bend[connection.vendor])
        found = checks.sessions_are_safe(databases=["default"])
        self.assertEqual([type(message) for message in found], [Error])
