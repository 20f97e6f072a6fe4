"""One crash point: a process lives the story, something happens to it, others go on."""

from __future__ import annotations

import logging
import os
import signal
import time
from dataclasses import dataclass, field

from django.conf import settings
from django.db import connections

from drills import events, judge, scenario
from drills.bank import BOOKING_DELAY, FAULTS, KINDS, Simulator
from drills.databases import use
from drills.forking import fork
from drills.process import free_port
from drills.scenario import Plan
from wallets.services.wallet import WalletService
from wallets.utils.bank import Abilities
from wallets.utils.db import database_now
from wallets.utils.third_party import HttpBank

# Longer than any run takes; one that takes longer is wrong.
RUN_SECONDS = 120
DEDUPE_WINDOW = 86400.0
# What the bank's operator declares; the simulator is always quicker than that.
BOOKING_TIME = 1.25 * BOOKING_DELAY


@dataclass(frozen=True)
class Point:
    """Where the story is interrupted, how, and with which bank. `at` 0: nowhere."""

    fault: str
    kind: str
    action: str
    at: int

    def __str__(self) -> str:
        return f"{self.action} at {self.at}, bank {self.kind}, {self.fault}"


@dataclass
class Verdict:
    """What came of a crash point."""

    point: Point
    events: int = 0
    first_call: int = 0
    label: str = ""
    struck: bool = False
    reviewed: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


def run(point: Point, database: str, bank: Simulator) -> Verdict:
    """Live it in one process, go on in this one, and judge."""
    signal.alarm(RUN_SECONDS)
    began = time.monotonic()
    kind = KINDS[point.kind]
    bank.become(point.fault, kind)
    use(database)
    plan = Plan(WalletService.create().uuid, database_now())
    connections.close_all()
    trail = events.Trail()
    url = bank.url if FAULTS[point.fault] is not None else _closed_port()
    told = time.monotonic()
    victim = fork(lambda: _live(point, plan, trail, url))
    _, status = os.waitpid(victim, os.WUNTRACED)
    lied_for = time.monotonic() - told
    frozen = os.WIFSTOPPED(status)
    verdict = Verdict(point, *trail.read())
    verdict.struck = 0 < point.at <= verdict.events
    if not frozen and os.waitstatus_to_exitcode(status) not in (0, -signal.SIGKILL):
        verdict.wrong.append(f"the story ended with {status}")

    bank.become("normal", kind)
    able = _abilities(point)
    calm_bank = HttpBank(bank.url, abilities=able, **events.limits())
    settled = scenario.go_on(plan, calm_bank)
    if frozen:
        os.kill(victim, signal.SIGCONT)
        os.waitpid(victim, 0)
        settled = scenario.go_on(plan, calm_bank) and settled
    if not settled:
        verdict.wrong.append(f"not settled after {scenario.SETTLE_SECONDS} s")
    _judge(verdict, plan, bank)
    if point.fault == "stale_lookup" and lied_for >= believed_after():
        # The machine was so slow that the bank denied for longer than it declares to:
        # whoever is lied to for that long pays twice. Nothing is proved either way.
        verdict.wrong = [what for what in verdict.wrong if "paid 2" not in what]
        verdict.struck = False
    connections.close_all()
    verdict.seconds = time.monotonic() - began
    return verdict


def believed_after() -> float:
    """Seconds after which "not found" is believed, of a bank that books at once."""
    longest = settings.WITHDRAWAL_LEASE + settings.THIRD_PARTY_DEADLINE
    return max(settings.WITHDRAWAL_QUIET_PERIOD, longest)


def _judge(verdict: Verdict, plan: Plan, bank: Simulator) -> None:
    if verdict.point.fault == "late_booking":
        time.sleep(BOOKING_DELAY)
    payments = bank.payments([plan.wallet_uuid])
    bare = verdict.point.kind == "bare"
    verdict.wrong += judge.wrongs(plan, payments, may_need_review=bare)
    if bare:
        verdict.reviewed = judge.review_all(plan, payments)
        verdict.wrong += judge.wrongs(plan, payments, may_need_review=False)


def _live(point: Point, plan: Plan, trail: events.Trail, url: str) -> None:
    logging.disable(logging.WARNING)
    events.expect_soft_limit()
    act, kind = events.ACTIONS[point.action]
    trip = events.Tripwire(trail, at=point.at, act=act, kind=kind)
    bank = events.WatchedBank(trip, url, _abilities(point))
    events.watch_database(trip)
    scenario.live(plan, bank)
    connections.close_all()


def _abilities(point: Point) -> Abilities:
    able = KINDS[point.kind]
    return Abilities(
        dedupes=able.dedupes,
        dedupe_window=DEDUPE_WINDOW if able.dedupes else 0,
        looks_up=able.looks_up,
        booking_time=BOOKING_TIME if point.fault == "late_booking" else 0.0,
    )


def _closed_port() -> str:
    return f"http://127.0.0.1:{free_port()}"
