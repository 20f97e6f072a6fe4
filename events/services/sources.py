"""What the sequencer reads of each table of the ledger: one declaration for each source.

A source is a table whose rows are only added. Two pieces of SQL say all about it: what
a new row means to the feed, and the place of its event among those of the same pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from events.models.event import EventType, Source
from events.services import kinds

# What a row means: an event; no event, or one that has its place; not known here.
EVENT, NONE, UNKNOWN = 0, 1, 2


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    `table` has the alias `r` in `is_event` and `is_known`: conditions on a row that make
    it an event, and that say that this release knows it.

    `events` selects of the rows that are to get a place: id, wallet, type, time, and
    then what orders them: rank, moment, movement, step. Its `{ids}` is a condition on
    `r.id`.
    """

    source: Source
    table: str
    is_event: str
    is_known: str
    events: str


def words(some: Iterable[str]) -> str:
    """Return constants of ours as a list of SQL."""
    return ", ".join(f"'{word}'" for word in sorted(some))


def _case(column: str, words: dict[str, str]) -> str:
    return " ".join(
        f"WHEN {column} = '{word}' THEN '{meaning}'" for word, meaning in words.items()
    )


# The leg of the movement that a change `r` of a withdrawal has posted; NULL: none.
LEG_OF_CHANGE = f"CASE {_case('r.event', kinds.LEGS)} END"

# A wallet comes before all that happens to it: rank 0 is before everything else.
_WALLETS = f"""
SELECT r.id, r.id AS wallet_id, '{EventType.WALLET_CREATED.value}' AS type,
    r.created_at, 0 AS rank_, r.created_at AS moment, 0 AS movement, 0 AS step
FROM wallets_wallet r WHERE {{ids}}
"""  # noqa: S608 (constants of ours)

# The times of a wallet's movements never decrease, so this is the statement's order.
_MOVEMENTS = f"""
SELECT r.id, r.wallet_id, CASE {_case("r.kind", kinds.OF_MOVEMENTS)} END AS type,
    r.created_at, 1 AS rank_, r.created_at AS moment, r.sequence AS movement, 0 AS step
FROM wallets_movement r
WHERE {{ids}} AND r.kind IN ({words(kinds.OF_MOVEMENTS)})
"""  # noqa: S608

# A change that moved money has the moment of its movement. Between two of those, a
# change has its own time, unless a clock was set: it is never before an earlier change of
# its withdrawal (`lower`), and never after the next one that moved money (`upper`).
_TRANSITIONS = f"""
SELECT id, wallet_id, type, created_at, 1 AS rank_, moment,
    CASE WHEN moment = money_before THEN movement_before
        WHEN moment = upper_ THEN movement_after ELSE 0 END AS movement,
    sequence AS step
FROM (
    SELECT bounded.*,
        CASE WHEN upper_ < lower_ THEN upper_ ELSE lower_ END AS moment
    FROM (
        SELECT chosen.*,
            MAX(COALESCE(moved_at, created_at)) OVER earlier AS lower_,
            MIN(moved_at) OVER later AS upper_,
            MAX(moved_at) OVER earlier AS money_before,
            MAX(movement_number) OVER earlier AS movement_before,
            MIN(movement_number) OVER later AS movement_after
        FROM (
            SELECT r.id, r.transaction_id, r.sequence, r.created_at, w.wallet_id,
                CASE {_case("r.event", kinds.OF_EVENTS)}
                    {_case("r.to_state", kinds.OF_STATES)} END AS type,
                m.created_at AS moved_at, m.sequence AS movement_number
            FROM wallets_transition r
            JOIN wallets_transaction w ON w.id = r.transaction_id
            LEFT JOIN wallets_movement m ON m.transaction_id = r.transaction_id
                AND m.attempt_number = r.attempt_number
                AND m.leg = {LEG_OF_CHANGE}
            WHERE {{ids}}
        ) chosen
        WINDOW earlier AS (PARTITION BY transaction_id ORDER BY sequence),
            later AS (PARTITION BY transaction_id ORDER BY sequence DESC)
    ) bounded
) placed
"""  # noqa: S608

# Never before an earlier change of its wallet, whatever the clocks showed.
_WALLET_CHANGES = f"""
SELECT id, wallet_id, type, created_at, 1 AS rank_, moment, 0 AS movement,
    sequence AS step
FROM (
    SELECT r.id, r.wallet_id, r.sequence, r.created_at,
        CASE {_case("r.event", kinds.OF_WALLET_CHANGES)} END AS type,
        MAX(r.created_at) OVER (PARTITION BY r.wallet_id ORDER BY r.sequence) AS moment
    FROM wallets_walletchange r WHERE {{ids}}
) placed
"""  # noqa: S608

READINGS = (
    Reading(
        Source.WALLET,
        "wallets_wallet",
        is_event="1 = 1",
        is_known="1 = 1",
        events=_WALLETS,
    ),
    Reading(
        Source.MOVEMENT,
        "wallets_movement",
        is_event=f"r.kind IN ({words(kinds.OF_MOVEMENTS)})",
        is_known=f"r.kind IN ({words({*kinds.OF_MOVEMENTS, *kinds.OF_OTHERS})})",
        events=_MOVEMENTS,
    ),
    Reading(
        Source.TRANSITION,
        "wallets_transition",
        is_event="1 = 1",
        is_known=f"r.event IN ({words(kinds.KNOWN_EVENTS)})"
        f" AND r.to_state IN ({words(kinds.OF_STATES)})",
        events=_TRANSITIONS,
    ),
    Reading(
        Source.WALLET_CHANGE,
        "wallets_walletchange",
        is_event="1 = 1",
        is_known=f"r.event IN ({words(kinds.OF_WALLET_CHANGES)})",
        events=_WALLET_CHANGES,
    ),
)
READING_OF = {one.source: one for one in READINGS}
