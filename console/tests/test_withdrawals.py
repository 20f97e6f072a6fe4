"""The list of withdrawals, the page of one withdrawal, and the page of a wallet."""

from unittest import skipUnless

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.queries import detail, listing
from console.queries.listing import Cursor, Filters
from console.tests.base import ConsoleTestCase
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.fakes import Does
from wallets.tests.raw import execute, rules_off
from wallets.utils.caller import Caller

HTMX = {"HX-Request": "true"}


class ListingTest(ConsoleTestCase):
    def setUp(self):
        super().setUp()
        self.deposit(1000)
        self.paid = self.execute(10)
        self.failed = self.execute(20, Does.REFUSE)
        self.review = self.withdrawal_in_review(30)
        self.others = WithdrawalService.schedule(self.bob.uuid, 40, self.after(3600))
        self.soon = WithdrawalService.schedule(self.alice.uuid, 50, self.after(600))

    def found(self, **filters):
        return listing.page(Filters(**filters)).rows

    def test_shows_all_the_newest_first(self):
        everything = [self.soon, self.others, self.review, self.failed, self.paid]
        self.assertEqual(self.found(), everything)

    def test_filters(self):
        for filters, expected in (
            ({"status": "COMPLETED"}, [self.paid]),
            ({"status": "FAILED"}, [self.failed]),
            ({"status": "PENDING"}, [self.soon, self.others]),
            ({"status": "PROCESSING", "needs_review": True}, [self.review]),
            ({"wallet_uuid": str(self.bob.uuid)}, [self.others]),
            ({"wallet_uuid": str(self.bob.uuid), "status": "FAILED"}, []),
            ({"transaction_id": self.paid.pk}, [self.paid]),
            ({"transaction_id": 10**17}, []),
            ({"since": self.after(1)}, [self.others, self.soon]),
            ({"until": self.after(1)}, [self.review, self.failed, self.paid]),
            ({"since": self.after(601), "until": self.after(9999)}, [self.others]),
            ({"since": self.after(1), "status": "COMPLETED"}, []),
        ):
            with self.subTest(filters=filters):
                self.assertEqual(self.found(**filters), expected)

    def test_shows_those_that_wait_for_their_wallets(self):
        rows = Transaction.objects.filter(pk__in=[self.failed.pk, self.others.pk])
        rows.update(waits_for_wallet=True, final=False)
        Wallet.objects.update(has_waiting=True)
        self.assertEqual(self.found(status="FAILED"), [self.failed])
        self.assertEqual(self.found(status="PENDING"), [self.soon, self.others])
        both = [self.review, self.failed, self.paid]
        self.assertEqual(self.found(until=self.after(1)), both)

    def test_pages_neither_skip_nor_repeat(self):
        for index in range(7):
            due = self.after(7200 + index // 3)  # several at the same moment
            WithdrawalService.schedule(self.alice.uuid, 5, due)
        for filters in (
            Filters(),
            Filters(status="PENDING"),
            Filters(since=self.after(1)),
            Filters(until=self.after(9999)),
            Filters(wallet_uuid=str(self.alice.uuid)),
        ):
            with self.subTest(filters=filters):
                whole = listing.page(filters, size=100).rows
                pages, after = [], None
                while True:
                    page = listing.page(filters, after, size=2)
                    pages += page.rows
                    if page.next is None:
                        break
                    after = page.next
                self.assertEqual(pages, whole)

    def test_shows_a_choice_on_the_page(self):
        page = self.client.get(reverse("console:withdrawals") + "?status=NEEDS_REVIEW")
        self.assertContains(page, f">{self.review.pk}</a>")
        self.assertNotContains(page, f">{self.paid.pk}</a>")

    def test_writes_a_cursor_that_can_be_read_again(self):
        from console.forms import parse_cursor

        for micro in (0, 1, 123456, 999999):
            cursor = Cursor(self.now.replace(microsecond=micro), 7)
            self.assertEqual(parse_cursor(str(cursor)), cursor)


class DamagedListTest(ConsoleTestCase):
    """One damaged row is shown as it is, and hides no other."""

    books_must_be_right = False

    def check(self, column: str, value: str) -> None:
        self.deposit(1000)
        sound, damaged = self.due_withdrawal(10), self.due_withdrawal(20)
        with rules_off(Transaction):
            execute(
                f"UPDATE wallets_transaction SET {column} = '{value}'"
                f" WHERE id = {damaged.pk}"
            )
        page = self.client.get("/console/withdrawals")
        self.assertContains(page, value)
        self.assertContains(page, f"/console/withdrawals/{sound.pk}")

    def test_shows_a_status_that_nobody_knows(self):
        self.check("status", "BOGUS")

    @skipUnless(connection.vendor == "sqlite", "other engines refuse another type")
    def test_shows_an_amount_that_is_text(self):
        self.check("amount", "abc")


class WithdrawalPageTest(ConsoleTestCase):
    def setUp(self):
        super().setUp()
        self.deposit(1000)

    def path(self, withdrawal, **query):
        return reverse("console:withdrawal", args=[withdrawal.pk])

    def test_shows_the_whole_history(self):
        withdrawal = self.execute(300, Does.REFUSE)
        WithdrawalService.retry_now(withdrawal.pk, actor="operator oscar")
        WithdrawalService.execute(withdrawal.pk, bank=self.bank)

        page = self.client.get(self.path(withdrawal))

        for reference in withdrawal.attempts.values_list("reference", flat=True):
            self.assertContains(page, reference)
        for words in ("Settle", "Release", "Retry now", "operator oscar", "success"):
            self.assertContains(page, words)

    def test_offers_only_what_can_be_done(self):
        buttons = ("The bank paid", "Retry now…", "Cancel…", "Reschedule…")
        for withdrawal, offered in (
            (self.withdrawal_in_review(10), {"The bank paid"}),
            (self.execute(20, Does.REFUSE), {"Retry now…", "Cancel…"}),
            (self.due_withdrawal(30), {"Cancel…", "Reschedule…"}),
            (self.execute(40), set()),
        ):
            page = self.client.get(self.path(withdrawal)).content.decode()
            with self.subTest(state=withdrawal.state):
                self.assertEqual({one for one in buttons if one in page}, offered)

    def test_reloads_itself_only_when_something_has_happened(self):
        withdrawal = self.due_withdrawal(10)
        seen = detail.life(withdrawal.pk).fingerprint
        path = f"{self.path(withdrawal)}?seen={seen}"
        self.assertContains(self.client.get(self.path(withdrawal)), f"?seen={seen}")
        self.assertEqual(self.client.get(path, headers=HTMX).status_code, 204)

        WithdrawalService.execute(withdrawal.pk, bank=self.bank)

        answer = self.client.get(path, headers=HTMX)
        self.assertEqual(answer.headers["HX-Refresh"], "true")

    def test_stops_reloading_when_it_is_final(self):
        page = self.client.get(self.path(self.execute(10)))
        self.assertNotContains(page, "hx-get")

    def test_costs_a_bounded_number_of_queries(self):
        withdrawal = self.execute(10)
        with CaptureQueriesContext(connection) as queries:
            self.client.get(self.path(withdrawal))
        self.assertLess(len(queries), 13)


class WalletPageTest(ConsoleTestCase):
    def test_shows_balance_and_statement(self):
        self.deposit(1000)
        self.execute(300)
        page = self.client.get(reverse("console:wallet", args=[self.alice.uuid]))
        self.assertContains(page, "Balance over time")
        self.assertContains(page, "+1,000")
        self.assertContains(page, "700")

    def test_names_who_made_each_movement(self):
        """Who asked for a withdrawal makes no movement."""
        self.deposit(1000)
        caller = Caller("the shop")
        asked = WithdrawalService.schedule(
            *(self.alice.uuid, 300, self.now), caller=caller, now=self.after(-60)
        )
        WithdrawalService.execute(asked.pk, bank=self.bank, now=self.now)
        page = self.client.get(reverse("console:wallet", args=[self.alice.uuid]))
        self.assertContains(page, "Settle <small>by worker</small>")
        self.assertContains(page, "Hold <small>by worker</small>")
        self.assertContains(page, "Deposit <small>by client</small>")
        self.assertNotContains(page, "the shop")

    def test_pages_its_statement(self):
        for _ in range(detail.STATEMENT_PAGE + 2):
            self.deposit(1)
        first = detail.statement(str(self.alice.uuid))
        second = detail.statement(str(self.alice.uuid), first.next)
        numbers = [row.sequence for row in (*first.movements, *second.movements)]
        self.assertEqual(numbers, list(range(detail.STATEMENT_PAGE + 2, 0, -1)))
        self.assertIsNone(second.next)

    def test_plots_the_balance_in_the_order_of_time(self):
        for amount in (10, 20):
            self.deposit(amount)
        points = detail.statement(str(self.alice.uuid)).points
        self.assertEqual([value for _, value in points], [10, 30])

    def test_shows_an_empty_wallet(self):
        page = self.client.get(reverse("console:wallet", args=[self.bob.uuid]))
        self.assertContains(page, "No money has been moved yet", count=2)
        self.assertIsNone(detail.statement("00000000-0000-4000-8000-000000000000"))
