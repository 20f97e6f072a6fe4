"""One crash point: a process runs the scenario, is interrupted; others go on."""

from __future__ import annotations

import functools
import logging
import os
import signal
import time
from dataclasses import dataclass, field

from django.conf import settings
from django.db import OperationalError, connection, connections, transaction
from django.test import override_settings

from drills import events, judge, judge_wallets, scenario, scenario_wallets
from drills.bank import BOOKING_DELAY, FAULTS, KINDS, LATE_FAULTS, Simulator
from drills.clock_shim import step_my_own
from drills.forking import fork
from drills.process import free_port
from drills.scenario import Plan
from drills.scenario_wallets import WalletPlan
from wallets.services.wallet import WalletService
from wallets.utils.bank.interface import Abilities
from wallets.utils.database.transactions import database_now
from wallets.utils.third_party import HttpBank

DEDUPE_WINDOW = 86400.0
# The declared booking time; the simulator is always faster.
BOOKING_TIME = 1.25 * BOOKING_DELAY


@dataclass(frozen=True)
class Point:
    """Where and how a scenario is interrupted, with which bank. `at` 0: nowhere.

    `story`: "payouts" (`scenario`) or "wallets" (`scenario_wallets`).
    """

    fault: str
    kind: str
    action: str
    at: int
    story: str = "payouts"

    @property
    def may_need_review(self) -> bool:
        """Whether only an operator can find the outcome.

        A bank without look-up only repeats a lost refusal, and a repeated refusal
        proves nothing: the first request may be paid, and be the reason of the second
        refusal.
        """
        lost_refusal = self.kind == "dedupes" and self.fault == "refuse"
        return self.kind == "bare" or lost_refusal

    def __str__(self) -> str:
        where = f"{self.action} at {self.at}, bank {self.kind}, {self.fault}"
        return where if self.story == "payouts" else f"{where}, story {self.story}"


@dataclass
class Verdict:
    """The result of a crash point."""

    point: Point
    events: int = 0
    first_call: int = 0
    trace: int = 0
    label: str = ""
    struck: bool = False
    reviewed: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


def run(point: Point, bank: Simulator) -> Verdict:
    """Run the scenario in one process, go on in this one, and check."""
    began = time.monotonic()
    kind = KINDS[point.kind]
    bank.become(point.fault, kind)
    if point.story == "wallets":
        plan: Plan | WalletPlan = scenario_wallets.make_plan(database_now())
        bank.take_over([])
    else:
        plan = Plan(WalletService.create().uuid, database_now())
        bank.take_over([plan.forgotten()])
    connections.close_all()
    trail = events.Trail()
    url = bank.url if FAULTS[point.fault] is not None else _closed_port()
    victim = fork(lambda: _live(point, plan, trail, url))
    _, status = os.waitpid(victim, os.WUNTRACED)
    frozen = os.WIFSTOPPED(status)
    verdict = Verdict(point, *trail.read())
    verdict.struck = 0 < point.at <= verdict.events
    if not frozen and os.waitstatus_to_exitcode(status) not in (0, -signal.SIGKILL):
        verdict.wrong.append(f"the story ended with {status}")

    bank.become("normal", kind)
    calm_bank = _client(bank.url, _abilities(point))
    if frozen and _lock_is_held():
        verdict.struck = False
    else:
        verdict.wrong += _go_on(point, plan, calm_bank)
    if frozen:
        os.kill(victim, signal.SIGCONT)
        os.waitpid(victim, 0)
        verdict.wrong += _go_on(point, plan, calm_bank)
    _judge(verdict, plan, bank)
    connections.close_all()
    if point.action in events.STEPS:
        step_my_own(0)
    verdict.seconds = time.monotonic() - began
    return verdict


def _lock_is_held() -> bool:
    """Whether the frozen process holds SQLite's only write transaction.

    The bank's answer arrives in another thread than the statements. No other process
    can go on then, whatever the guards are: it is the engine's limit, not a crash
    point.
    """
    if connection.vendor != "sqlite":
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 500")
        with transaction.atomic():  # begins as a writer
            return False
    except OperationalError:
        return True
    finally:
        connection.close()


def _go_on(point: Point, plan: Plan | WalletPlan, bank: HttpBank) -> list[str]:
    """Go on, with little patience if only an operator can help."""
    patience = settings.WITHDRAWAL_REVIEW_AFTER
    if point.may_need_review:
        patience = settings.WITHDRAWAL_LEASE
    with override_settings(WITHDRAWAL_REVIEW_AFTER=patience):
        if isinstance(plan, WalletPlan):
            return scenario_wallets.go_on(plan, bank)
        return scenario.go_on(plan, bank)


def _judge(verdict: Verdict, plan: Plan | WalletPlan, bank: Simulator) -> None:
    if verdict.point.fault == "late_booking":
        time.sleep(BOOKING_DELAY)
    payments = bank.payments([plan.wallet_uuid])
    if isinstance(plan, WalletPlan):
        verdict.wrong += judge_wallets.wrongs(plan, payments)
        return
    reviewed = verdict.point.may_need_review
    verdict.wrong += judge.wrongs(plan, payments, may_need_review=reviewed)
    if reviewed:
        verdict.reviewed = judge.review_all(plan, payments)
        verdict.wrong += judge.wrongs(plan, payments, may_need_review=False)


def _live(point: Point, plan: Plan | WalletPlan, trail: events.Trail, url: str) -> None:
    logging.disable(logging.WARNING)
    events.expect_soft_limit()
    act, kinds = events.ACTIONS[point.action]
    trip = events.Tripwire(trail, at=point.at, act=act, kinds=kinds)
    bank = events.WatchedBank(trip, url, _abilities(point))
    events.watch_database(trip)
    if isinstance(plan, WalletPlan):
        scenario_wallets.live(plan, bank)
    else:
        scenario.live(plan, bank)
    connections.close_all()


@functools.cache
def _client(url: str, abilities: Abilities) -> HttpBank:
    """Return this process's client of a bank; its threads are idle between points."""
    return HttpBank(url, abilities=abilities, **events.limits())


def _abilities(point: Point) -> Abilities:
    able = KINDS[point.kind]
    return Abilities(
        dedupes=able.dedupes,
        dedupe_window=DEDUPE_WINDOW if able.dedupes else 0,
        looks_up=able.looks_up,
        booking_time=BOOKING_TIME if point.fault in LATE_FAULTS else 0.0,
    )


def _closed_port() -> str:
    return f"http://127.0.0.1:{free_port()}"
