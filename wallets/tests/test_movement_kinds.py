"""The rule about kinds, legs, accounts and attempts of movements, in its short form."""

from __future__ import annotations

from django.db import connection
from django.db.models import CheckConstraint, Q

from wallets.models.ledger import MOVEMENTS, Account, Movement
from wallets.tests.base import WalletTestCase

# Kind, leg, accounts from and to, whether an attempt: as it was said before, in words.
SAID = (
    ("deposit", "open", "outside", "wallet", False),
    ("hold", "open", "wallet", "in_flight", True),
    ("settle", "close", "in_flight", "outside", True),
    ("release", "close", "in_flight", "wallet", True),
    ("transfer_out", "out", "wallet", "clearing", False),
    ("transfer_in", "in", "clearing", "wallet", False),
    ("correction_out", "back", "wallet", "outside", False),
    ("correction_in", "back", "outside", "wallet", False),
    ("return", "bank", "outside", "wallet", False),
)
# Values that, joined, could look like others.
STRANGE = ("", "gift", "deposit open", "open outside", "outside wallet", " ")
VALUES = {
    "kind": (*Movement.Kind.values, *STRANGE),
    "leg": (*Movement.Leg.values, *STRANGE),
    "from_account": (*Account.values, *STRANGE),
    "to_account": (*Account.values, *STRANGE),
    "attempt_number": (-1, 0, 1, 2, 10),
}


def long_form() -> Q:
    """Return the rule as a comparison of each column."""
    allowed = Q()
    for kind, leg, source, target, is_attempt in SAID:
        attempt = {"attempt_number__gte": 1} if is_attempt else {"attempt_number": 0}
        allowed |= Q(
            kind=kind, leg=leg, from_account=source, to_account=target, **attempt
        )
    return allowed


class MovementKindsTest(WalletTestCase):
    """The short rule…"""

    def check(self, constraint: CheckConstraint) -> str:
        editor = connection.schema_editor(collect_sql=True)
        return constraint._get_check_sql(Movement, editor)

    def rows_allowed(self, rule: str) -> set[tuple[object, ...]]:
        quote = connection.ops.quote_name
        tables = []
        for name, values in VALUES.items():
            rows = " UNION ALL ".join(
                f"SELECT {value!r} AS {quote(name)}" for value in values
            )
            tables.append(f"({rows}) AS {quote('each_' + name)}")
        columns = ", ".join(map(quote, VALUES))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {columns} FROM {' CROSS JOIN '.join(tables)} WHERE {rule}"
            )
            return set(cursor.fetchall())

    def test_allows_what_the_long_one_allows_of_all_combinations(self) -> None:
        (short,) = (
            one
            for one in Movement._meta.constraints
            if one.name == "movement_accounts_match_kind"
        )
        long = CheckConstraint(condition=long_form(), name="long")
        expected = {
            (kind, leg, source, target, attempt)
            for kind, leg, source, target, is_attempt in SAID
            for attempt in ((1, 2, 10) if is_attempt else (0,))
        }
        self.assertEqual(self.rows_allowed(self.check(long)), expected)
        self.assertEqual(self.rows_allowed(self.check(short)), expected)

    def test_cannot_be_met_by_values_with_spaces(self) -> None:
        """Each allowed text has as many spaces as the five values have gaps."""
        for text in MOVEMENTS:
            self.assertEqual(text.count(" "), len(VALUES) - 1)

    def test_names_each_kind_once(self) -> None:
        kinds = [text.split(" ")[0] for text in MOVEMENTS]
        self.assertCountEqual(kinds, Movement.Kind.values)
