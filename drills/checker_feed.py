"""Decides whether the feed has every change once, and the receiver every event.

Pure: `changes` are read from the tables of the ledger, `feed` from the API, `lines` from
the receiver's file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]
# What an event in the feed and its webhook have in common.
SAME = ("id", "type", "position", "wallet", "data")


@dataclass(frozen=True)
class Change:
    """A committed change of the ledger: the type of its event, and what it is about.

    `number`: the id of the transaction, or the number of the change of a wallet.
    """

    type: str
    wallet: str
    number: int = 0


def wrong_feed(changes: Sequence[Change], feed: Sequence[Event]) -> Iterator[str]:
    """Yield what is wrong with the feed. Of each withdrawal, `changes` are in order."""
    if [event["position"] for event in feed] != list(range(1, len(feed) + 1)):
        yield "feed: its positions are not 1, 2, 3 …"
    for name, count in Counter(event["id"] for event in feed).items():
        if count > 1:
            yield f"feed: {count} events {name}"
    wanted, found = Counter(changes), Counter(map(_change_of, feed))
    for change in wanted.keys() | found.keys():
        if wanted[change] != found[change]:
            yield f"feed: {found[change]} events of {wanted[change]} changes: {change}"
    yield from _wrong_order(changes, feed)


def _change_of(event: Event) -> Change:
    data = event["data"]
    number = data.get("transaction") or data.get("change") or 0
    return Change(event["type"], event["wallet"], number)


def _wrong_order(changes: Iterable[Change], feed: Iterable[Event]) -> Iterator[str]:
    """Each wallet begins with its creation; statements and histories are in order."""
    wanted: dict[int, list[str]] = defaultdict(list)
    for change in changes:
        if change.type.startswith("withdrawal."):
            wanted[change.number].append(change.type)
    last: dict[tuple[str, str], int] = {}
    known: set[str] = set()
    found: dict[int, list[str]] = defaultdict(list)
    for event in feed:
        name, data = f"feed: event {event['position']}", event["data"]
        wallet = event["wallet"]
        if (event["type"] == "wallet.created") == (wallet in known):
            yield f"{name}: wallet {wallet} is created again, or too late"
        known.add(wallet)
        for what in ("sequence", "change"):
            number = data.get(what)
            if number is not None:
                if number <= last.get((wallet, what), 0):
                    yield f"{name}: {what} {number} comes too late in {wallet}"
                last[wallet, what] = number
        if event["type"].startswith("withdrawal."):
            found[data["transaction"]].append(event["type"])
    for pk, types in wanted.items():
        if found[pk] != types:
            yield f"feed: withdrawal {pk} is told as {found[pk]}, was {types}"


def wrong_receptions(
    hook: str, wanted: Sequence[Event], lines: Iterable[dict[str, Any]]
) -> Iterator[str]:
    """Yield what is wrong with what a hook has received. `wanted`: in the feed's order.

    Before an event comes for the first time, all earlier ones of its wallet were taken.
    """
    events = {event["id"]: event for event in wanted}
    to_come: dict[str, list[str]] = defaultdict(list)
    for event in reversed(wanted):
        to_come[event["wallet"]].append(event["id"])
    seen, taken = set(), set()
    for line in lines:
        if line["what"] in ("forged", "trap"):
            yield f"receiver: {line}"
        if line["hook"] != hook or "id" not in line:
            continue
        name = f"receiver: {hook} {line['id']}"
        if line["id"] not in events:
            if line["what"] == "seen" and line["event"]["type"] != "webhook.test":
                yield f"{name}: invented, or not wanted: {line}"
            continue
        event = events[line["id"]]
        if line["what"] == "taken":
            taken.add(line["id"])
            continue
        told = line["event"]
        if any(told[field] != event[field] for field in SAME):
            yield f"{name}: told {told}, is {event}"
        if line["id"] not in seen:
            seen.add(line["id"])
            waiting = to_come[event["wallet"]]
            while waiting and waiting[-1] in taken:
                waiting.pop()
            if not waiting or waiting[-1] != line["id"]:
                yield f"{name}: came before {waiting[-1:]}, an earlier one"
    missing = [event for event in wanted if event["id"] not in taken]
    for event in missing[:20]:
        yield f"receiver: {hook} has never taken {event}"
    if len(missing) > 20:
        yield f"receiver: {hook} has not taken {len(missing)} events"
