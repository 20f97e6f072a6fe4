"""Decides whether wallets were created, frozen and closed as their owners were told.

Pure. A request's answer says only that its effect came between its sending and its
answer. So a state is certain from the answer of the request that began it until the
next request that changed it was sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from drills.history import (
    CLOSE,
    DEPOSIT,
    LIFE,
    OK,
    REFUSED,
    TRANSFER,
    WALLET,
    WITHDRAWAL,
    Answer,
    Intent,
)

GIVES_NOTHING = ("frozen_out", "frozen", "closed")
TAKES_NOTHING = ("frozen_in", "frozen", "closed")
REFUSED_BY_LIFE = ("wallet_frozen", "wallet_closed")


@dataclass(frozen=True)
class Change:
    """A change of a wallet's life in the ledger, and the state after it."""

    wallet: str
    event: str
    reason: str
    state: str


@dataclass(frozen=True)
class Span:
    """A time in which the state of a wallet is certain (monotonic seconds)."""

    began: float
    ended: float
    state: str


def wrongs(
    intents: Sequence[Intent],
    changes: Sequence[Change],
    keys: Iterable[str],
    creations: Sequence[tuple[str, str]] = (),
) -> list[str]:
    """Return every error as a sentence; nothing if all is right.

    `changes` are in the order of each wallet; `keys` those of all transactions of the
    ledger; `creations` the keys and wallets of all creations that had a key.
    """
    by_wallet: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_wallet[change.wallet].append(change)
    asked = {intent.key: intent for intent in intents if intent.kind in LIFE}
    spans = {
        wallet: list(_spans(of_wallet, asked))
        for wallet, of_wallet in by_wallet.items()
    }
    return [
        *_wrong_changes(asked, by_wallet),
        *_wrong_creations(intents, creations),
        *_wrong_money(intents, spans, set(keys)),
        *_wrong_refusals(intents, spans),
    ]


def _spans(changes: Sequence[Change], asked: dict[str, Intent]) -> Iterator[Span]:
    """Yield the certain times of one wallet, which is active at first."""
    began, state = -inf, "active"
    for change in changes:
        intent = asked.get(change.reason)
        if intent is None or not intent.answers:
            return  # it is named as an error, or its request has no answer yet
        (answer,) = intent.answers
        yield Span(began, answer.began, state)
        began = answer.ended if answer.verdict == OK else inf
        state = change.state
    yield Span(began, inf, state)


def _wrong_changes(
    asked: dict[str, Intent], by_wallet: dict[str, list[Change]]
) -> Iterator[str]:
    """Each change was asked for once, a refused one is not made, a closed one final."""
    times: Counter[str] = Counter()
    for wallet, changes in by_wallet.items():
        for number, change in enumerate(changes, start=1):
            name = f"{change.event} {change.reason} of wallet {wallet}"
            times[change.reason] += 1
            intent = asked.get(change.reason)
            if intent is None or intent.wallet != wallet:
                yield f"{name}: nobody asked for it"
            elif intent.verdicts == {REFUSED}:
                yield f"{name}: refused, and done"
            if times[change.reason] > 1:
                yield f"{name}: done {times[change.reason]} times"
            if change.state == "closed" and number < len(changes):
                yield f"{name}: changed after it was closed"
    for intent in asked.values():
        name = f"{intent.kind} {intent.key} of wallet {intent.wallet}"
        for answer in intent.answers:
            if answer.verdict == OK and not _says(intent, answer):
                yield f"{name}: answered with the state {answer.body.get('state')}"
        if intent.kind == CLOSE and OK in intent.verdicts:
            made = by_wallet.get(intent.wallet) or []
            if not made or made[-1].state != "closed":
                yield f"{name}: answered ok, and it is not closed"


def _says(intent: Intent, answer: Answer) -> bool:
    """Whether the answer shows the state that was asked for."""
    state = answer.body.get("state")
    if intent.kind == CLOSE:
        return bool(state == "closed")
    directions = {"in": TAKES_NOTHING, "out": GIVES_NOTHING}
    way = intent.more["direction"]
    wanted = [directions[way]] if way in directions else list(directions.values())
    return all((state in states) == (intent.kind == "freeze") for states in wanted)


def _wrong_creations(
    intents: Iterable[Intent], creations: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """A key makes one wallet, of which all its answers tell."""
    made = dict(creations)
    if len(made) < len(creations):
        yield "wallets: two of one key"
    asked = set()
    for intent in intents:
        if intent.kind != WALLET:
            continue
        asked.add(intent.key)
        told = {a.body["uuid"] for a in intent.answers if a.verdict == OK}
        if told and told != {made.get(intent.key)}:
            yield f"wallet of key {intent.key}: is {made.get(intent.key)}, told {told}"
    for key, wallet in creations:
        if key not in asked:
            yield f"wallet {wallet}: nobody asked for it"


def _wallets_of(intent: Intent) -> list[tuple[str, tuple[str, ...]]]:
    """Return the wallets of a request, each with the states that forbid it."""
    if intent.kind == DEPOSIT:
        return [(intent.wallet, TAKES_NOTHING)]
    if intent.kind == WITHDRAWAL:
        return [(intent.wallet, GIVES_NOTHING)]
    if intent.kind == TRANSFER:
        return [(intent.wallet, GIVES_NOTHING), (intent.to, TAKES_NOTHING)]
    return []


def _wrong_money(
    intents: Iterable[Intent], spans: dict[str, list[Span]], keys: set[str]
) -> Iterator[str]:
    """Nothing that began and was done within a freeze moves money."""
    for intent in intents:
        if intent.key not in keys or not intent.answers:
            continue
        began = min(answer.began for answer in intent.answers)
        done = [answer.ended for answer in intent.answers if answer.verdict == OK]
        ended = min(done, default=inf)
        for wallet, forbidden in _wallets_of(intent):
            for span in spans.get(wallet, ()):
                within = span.began < began and ended <= span.ended
                if within and span.state in forbidden:
                    yield (
                        f"{intent.kind} {intent.key}: done while the wallet {wallet}"
                        f" was {span.state}"
                    )


def _wrong_refusals(
    intents: Iterable[Intent], spans: dict[str, list[Span]]
) -> Iterator[str]:
    """Nothing is refused for a freeze that surely was not there."""
    for intent in intents:
        for answer in intent.answers:
            if answer.verdict != REFUSED or answer.detail not in REFUSED_BY_LIFE:
                continue
            concerned = _wallets_of(intent)
            if concerned and all(
                _is_free(answer, spans.get(wallet), forbidden)
                for wallet, forbidden in concerned
            ):
                yield f"{intent.kind} {intent.key}: {answer.detail}, and it was not"


def _is_free(
    answer: Answer, spans: list[Span] | None, forbidden: tuple[str, ...]
) -> bool:
    """Whether the wallet's state allowed the request all the time."""
    if spans is None:
        return True  # it never changed
    return any(
        span.began < answer.began
        and answer.ended < span.ended
        and span.state not in forbidden
        for span in spans
    )
