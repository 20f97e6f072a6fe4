"""Whether this process can work: checks the database, the broker and the heartbeats.

Changes nothing. Without the database no request works. Without the broker or the
sweeps, with paused payouts or a failing bank, the API still answers and payments are
late, so the process stays in service. A wrong clock of the host is reported only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from wallets.models.heartbeat import Heartbeat
from wallets.services.operations import heartbeat, host_clock, payout_health
from wallets.utils import uptime
from wallets.utils.database import read_only
from wallets.utils.database.transactions import database_now
from wallets.utils.extensions import health_checks
from wallets.utils.messaging import broker

OK = "ok"
# A sweep is silent when it has missed this many runs since the start.
MISSED_TURNS = 3
# The comparison with the bank's list is silent when it is late by this. It is tried again
# every STATEMENT_CHECK_INTERVAL, and its first run after the start comes so soon.
STATEMENT_INTERVAL, STATEMENT_LATE = 86_400.0, 7200.0
# A heartbeat may be newer than the time read before it, by a query at most. One that is
# further ahead was written by a clock that has been corrected since: it tells nothing.
AHEAD = timedelta(seconds=10)


@dataclass(frozen=True)
class Sweep:
    """When a sweep last ran (None: unknown), and its interval (seconds).

    `lately`: it has run within the allowed time. `silent`: it has not, although the
    service has been up for long enough.
    """

    name: str
    interval: float
    ran_at: datetime | None
    lately: bool
    silent: bool


@dataclass
class Readiness:
    """The checks by name: "ok", or what is wrong."""

    checks: dict[str, str] = field(default_factory=dict)
    sweeps: dict[str, Any] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether requests can be served."""
        return self.checks["database"] == OK and self.checks["migrations"] == OK

    @property
    def status(self) -> str:
        """One word for all checks."""
        if not self.ready:
            return "unavailable"
        return OK if set(self.checks.values()) == {OK} else "degraded"


def look() -> Readiness:
    """Check everything once. Takes at most about a second if all servers answer."""
    found = Readiness()
    try:
        only_reads = read_only.is_read_only(connection)
        found.checks["database"] = "read-only" if only_reads else OK
        found.checks["migrations"] = _migrations()
        now = database_now()
        found.checks["sweeps"] = _sweeps(found.sweeps, now)
        payouts = payout_health.look(now)
        found.checks["payouts"] = payouts.payouts or OK
        found.checks["bank"] = payouts.bank or OK
        found.checks["clock"] = host_clock.describe(host_clock.offset()) or OK
        for name, check in health_checks().items():
            found.checks[name] = check(now).trouble or OK
    except (DatabaseError, InterfaceError) as error:
        found.checks["database"] = f"not answering ({type(error).__name__})"
        others = ("migrations", "sweeps", "payouts", "bank", "clock")
        for name in (*others, *health_checks()):
            found.checks[name] = "unknown"
    found.checks["broker"] = broker.trouble() or OK
    return found


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return f"{len(missing)} not applied" if missing else OK


def sweeps(now: datetime) -> list[Sweep]:
    """Return when each sweep last ran, by the heartbeats."""
    intervals = {
        heartbeat.PENDING: settings.WITHDRAWAL_DUE_INTERVAL,
        heartbeat.RETRY: settings.WITHDRAWAL_RETRY_INTERVAL,
        heartbeat.RESOLVE: settings.WITHDRAWAL_RESOLVE_INTERVAL,
    }
    if settings.THIRD_PARTY_STATEMENT:
        intervals[heartbeat.STATEMENT] = STATEMENT_INTERVAL
    ran_at = dict(Heartbeat.objects.values_list("name", "ran_at"))
    found = []
    for name, interval in intervals.items():
        last = ran_at.get(name)
        if last is not None and last - now > AHEAD:
            last = None
        allowed, first_run = _allowed(name, interval)
        lately = last is not None and now - last <= timedelta(seconds=allowed)
        silent = not lately and uptime.seconds() > first_run
        found.append(Sweep(name, interval, last, lately, silent))
    return found


def _allowed(name: str, interval: float) -> tuple[float, float]:
    """Return the most seconds since the last run, and from the start to the first."""
    if name == heartbeat.STATEMENT:
        tries = (MISSED_TURNS + 1) * settings.STATEMENT_CHECK_INTERVAL
        return interval + STATEMENT_LATE, tries
    allowed = MISSED_TURNS * interval + settings.WITHDRAWAL_SOFT_TIME_LIMIT
    return allowed, allowed


def _sweeps(ages: dict[str, Any], now: datetime) -> str:
    """Fill in the age of each sweep (seconds); name the silent ones."""
    silent = []
    for sweep in sweeps(now):
        last = sweep.ran_at
        ages[sweep.name] = last and round((now - last).total_seconds(), 1)
        if sweep.silent:
            silent.append(sweep.name)
    return f"silent: {', '.join(silent)}" if silent else OK
