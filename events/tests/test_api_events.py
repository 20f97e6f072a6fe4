"""GET /events/: pages, filters, links, and bad input."""

from __future__ import annotations

import re
import uuid
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from events.models.event import EventType
from events.services import feed, sequencer
from events.services.feed import MAX_LIMIT
from wallets.tests.api import Answer, Api
from wallets.tests.base import WalletTestCase
from wallets.utils.limits import MAX_BIGINT

LINK = re.compile(r'<([^>]+)>; rel="next", <[^>]+>; rel="first"')


def next_of(response: Answer) -> str:
    """Return path and query of the next page."""
    found = LINK.fullmatch(response.headers["Link"])
    assert found, response.headers["Link"]
    url = urlsplit(found[1])
    return f"{url.path}?{url.query}"


class EventListApiTest(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)
        self.withdrawal = self.due_withdrawal(40)
        self.deposit(7, self.bob)
        sequencer.catch_up()

    def positions(self, query: str = "") -> list[int]:
        response = self.get(f"/events/{query}")
        self.assertEqual(response.status_code, 200, response.content)
        return [one["position"] for one in response.json()]

    def test_is_a_bare_array_oldest_first(self) -> None:
        self.assertEqual(self.positions(), [1, 2, 3, 4, 5])

    def test_shows_what_the_service_reads(self) -> None:
        for shown, record in zip(
            self.get("/events/").json(), feed.read(0, 9), strict=True
        ):
            self.assertEqual(shown["id"], record.id)
            self.assertEqual(shown["type"], record.type)
            self.assertEqual(shown["wallet"], str(record.wallet))
            self.assertEqual(shown["data"], record.data)

    def test_goes_on_by_its_link_to_the_end_and_from_there(self) -> None:
        path, seen = "/events/?limit=2", []
        for _ in range(4):
            response = self.get(path)
            seen += [one["position"] for one in response.json()]
            path = next_of(response)
        self.assertEqual(seen, [1, 2, 3, 4, 5])
        self.assertEqual(self.get(path).json(), [])
        self.deposit(1)
        sequencer.catch_up()
        (new,) = self.get(path).json()
        self.assertEqual(new["position"], 6)

    def test_filters_by_types(self) -> None:
        deposits = [
            one["data"]["amount"]
            for one in self.get("/events/?type=deposit.completed").json()
        ]
        self.assertEqual(sorted(deposits), [7, 100])
        both = self.get("/events/?type=wallet.created,withdrawal.scheduled").json()
        self.assertEqual(
            {one["type"] for one in both}, {"wallet.created", "withdrawal.scheduled"}
        )

    def test_filters_by_wallet_and_by_both(self) -> None:
        mine = self.get(f"/events/?wallet={self.alice.uuid}").json()
        self.assertEqual({one["wallet"] for one in mine}, {str(self.alice.uuid)})
        self.assertEqual(len(mine), 3)
        query = f"?wallet={self.alice.uuid}&type=deposit.completed&limit=1"
        (deposit,) = self.get(f"/events/{query}").json()
        self.assertEqual(deposit["data"]["amount"], 100)

    def test_keeps_the_filters_in_its_link(self) -> None:
        query = (
            f"?wallet={self.alice.uuid}&type=deposit.completed,wallet.created&limit=1"
        )
        path, seen = f"/events/{query}", []
        for _ in range(4):
            response = self.get(path)
            seen += [one["type"] for one in response.json()]
            path = next_of(response)
        self.assertEqual(seen, ["wallet.created", "deposit.completed"])

    def test_looks_at_a_bounded_number_of_events_for_one_page(self) -> None:
        """A page of a rare type may be empty; its link leads on."""
        with mock.patch.object(feed, "SCAN", 1):
            path, pages = "/events/?type=withdrawal.scheduled", []
            for _ in range(6):
                response = self.get(path)
                pages.append(len(response.json()))
                path = next_of(response)
        self.assertEqual((pages[0], sum(pages)), (0, 1))
        self.assertEqual(len(feed.read(0, 9, kinds=["withdrawal.scheduled"])), 1)

    def test_is_empty_at_the_end(self) -> None:
        for query in ("after=5", "after=5&type=wallet.created"):
            response = self.get(f"/events/?{query}")
            self.assertEqual(response.json(), [])
            self.assertIn("after=5&", response.headers["Link"])

    def test_tells_a_reader_that_a_restored_feed_ends_before_its_position(self) -> None:
        for after in (6, MAX_BIGINT):
            response = self.get(f"/events/?after={after}")
            self.assert_problem(response, 409, "position_ahead")

    def test_does_not_know_an_unknown_wallet(self) -> None:
        response = self.get(f"/events/?wallet={uuid.uuid4()}")
        self.assert_problem(response, 404, "wallet_not_found")

    def test_refuses_what_is_no_value_of_a_parameter(self) -> None:
        bad: dict[str, tuple[Any, ...]] = {
            "after": (
                *("-1", "+1", "01", "1.0", "1e3", "", "abc", "%D9%A1", "true", "1_0"),
                *(MAX_BIGINT + 1, 10**20),
            ),
            "limit": ("0", "-1", MAX_LIMIT + 1, 10**20, "", "ten", "1.5"),
            "type": (
                *("", "nope", "deposit.completed,", ",deposit.completed"),
                *("deposit.completed,deposit.completed", "DEPOSIT.COMPLETED"),
                "deposit.completed, wallet.created",
            ),
            "wallet": (
                *("", "nope", "1", "{}", str(uuid.uuid4()).upper()),
                *(f"{{{uuid.uuid4()}}}", uuid.uuid4().hex),
            ),
        }
        for name, values in bad.items():
            for value in values:
                with self.subTest(name, value=value):
                    response = self.get(f"/events/?{name}={value}")
                    self.assert_problem(response, 400, "parameter_invalid", name)

    def test_refuses_a_nul_in_any_parameter(self) -> None:
        for name in ("after", "limit", "type", "wallet"):
            response = self.get(f"/events/?{name}=1%00")
            self.assertEqual(response.status_code, 400)

    def test_refuses_unknown_and_repeated_parameters(self) -> None:
        response = self.get("/events/?cursor=1")
        self.assert_problem(response, 400, "parameter_unknown", "cursor")
        response = self.get("/events/?after=1&after=2")
        self.assert_problem(response, 400, "parameter_repeated", "after")

    def test_serves_no_other_method(self) -> None:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            response = self.call(method, "/events/")
            self.assert_problem(response, 405, "method_not_allowed")

    def test_has_no_other_path(self) -> None:
        for path in ("/events", "/events/1", "/events//"):
            self.assertEqual(self.get(path).status_code, 404)

    def test_accepts_each_type(self) -> None:
        for name in EventType.values:
            self.assertEqual(self.get(f"/events/?type={name}").status_code, 200)
