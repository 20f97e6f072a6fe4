"""The scenarios of a crash sweep: each action with the banks and faults that differ."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace

from drills import clock_shim, events
from drills.bank import FAULTS, KINDS, LOOK_UP_FAULTS, TWINS
from drills.crash_sweep import STORIES
from drills.point import Point

SWEPT = ("kill", "kill-in-call", "freeze", "error", "soft-limit")
# The faults that leave the outcome to be found out over time.
STEPPED_FAULTS = ("normal", "accept_close", "late_booking", "stale_lookup")


def stories_of(options: argparse.Namespace) -> list[Point]:
    """Return every requested combination."""
    points = [
        Point(fault, kind, action, options.at or 0)
        for action in options.action or _swept()
        for kind in options.bank or _kinds_for(action)
        for fault in options.fault or _faults_of(kind, action)
    ]
    stories = options.story or STORIES
    return [point for point in points if "payouts" in stories] + [
        replace(point, story="wallets")
        for point in points
        if "wallets" in stories and _differs_with_wallets(point)
    ]


def _differs_with_wallets(point: Point) -> bool:
    """Whether the story of wallets is told here: one bank, one fault of each outcome."""
    return (
        point.kind == "able"
        and point.action in ("kill", "error", "freeze")
        and point.fault in ("normal", "refuse", "accept_close")
    )


def _swept() -> list[str]:
    """Return the actions of a whole sweep; without a compiler no clock is stepped."""
    if reason := clock_shim.missing():
        print(f"no clock is stepped: {reason}", flush=True)
        return list(SWEPT)
    return [*SWEPT, *events.STEPS]


def _kinds_for(action: str) -> Iterable[str]:
    """Return the kinds of banks that make a difference.

    The soft limit does less than a kill at the same moment, which is swept with every
    bank: the one that can do everything, and the one that can do nothing, are enough.
    """
    return ("able", "bare") if action == "soft-limit" else KINDS


def _faults_of(kind: str, action: str) -> list[str]:
    """Return the faults that make a difference.

    Faults with a twin differ only during calls, where only kills happen. For the soft
    limit one fault for each outcome of a payment is enough.
    """
    if action == "soft-limit":
        return ["normal", "refuse", "accept_close", "late_booking"]
    faults = [
        fault for fault in FAULTS if KINDS[kind].looks_up or fault not in LOOK_UP_FAULTS
    ]
    if action in events.STEPS:
        return [fault for fault in faults if fault in STEPPED_FAULTS]
    return [fault for fault in faults if (fault in TWINS) == (action == "kill-in-call")]
