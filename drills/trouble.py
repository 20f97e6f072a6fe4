"""All faults: of bank, receiver, each process and clock, broker, database; the operator.

Each draws its values from the seed when the schedule is made, not when it happens.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable

from drills.broker import OwnRedis
from drills.nemesis import Act, Fault, Kind
from drills.process import Process, children_of, send
from drills.trouble_clock import ClockTrouble
from drills.trouble_database import DatabaseTrouble
from drills.trouble_operator import OperatorTrouble
from drills.trouble_webhooks import WebhookTrouble

BANK_MODES = (
    "refuse",
    "accept_hang",
    "accept_close",
    "accept_reset",
    "accept_500",
    "accept_503",
    "drip",
    "late_booking",
    "garbage",
    "truncated",
    "duplicate_keys",
    "wrong_amount",
    "reset",
    "error",
    "redirect",
    "html_404",
)
# Stale for at most the declared time: a bank that denies older payments pays twice by
# its own fault.
LOOKUP_MODES = ("stale", "error", "hang", "reset", "garbage")
LOSING_MODES = ("accept_close", "accept_reset", "accept_500", "accept_hang")
# An overloaded look-up, with the body of a refused payment.
REFUSING_LOOKUPS = ("refuses_503", "refuses_200", "another_payment", "busy_429")


class Trouble(ClockTrouble, DatabaseTrouble, OperatorTrouble, WebhookTrouble):
    """Every kind of fault that this machine can provoke in a running system."""

    def kinds(self) -> list[tuple[Kind, int]]:
        kinds: list[tuple[Kind, int]] = [
            (self._bank_mode, 8),
            (self._look_up_mode, 3),
            (self._lost_and_refused, 4),
            (self._bank_latency, 3),
            (self._bank_restart, 2),
            (self._kill_worker_child, 8),
            (self._freeze_worker_child, 4),
            (self._kill_worker, 4),
            (self._end_worker, 2),
            (self._freeze_worker, 4),
            (self._kill_api_child, 4),
            (self._freeze_api, 2),
            (self._kill_beat, 2),
            (self._freeze_beat, 2),
            (self.database_trouble, 5),
            (self.pause_payouts, 3),
            *self.webhook_kinds(),
        ]
        if self._system.redis:
            kinds += [
                (self._restart_broker, 4),
                (self._freeze_broker, 3),
                (self._flush_broker, 3),
                (self._demote_broker, 3),
            ]
        if self._system.clocks:
            kinds.append((self.step_clock, 8))
        if "database" in self._system.clocks:
            kinds.append((self.step_database_clock, 4))
        if self._system.proxy:
            kinds += [(self.restart_database, 3), (self.silence_database, 3)]
        return kinds

    def _bank_mode(self) -> Fault:
        mode = self._random.choice(BANK_MODES)
        times = self._random.randint(1, 8)
        bank = self._system.bank
        act = self._to_bank(lambda: bank.set_faults(mode=mode, times=times))
        return f"bank {mode}", act

    def _look_up_mode(self) -> Fault:
        mode, seconds = self._random.choice(LOOKUP_MODES), self._random.uniform(1, 6)
        return f"bank look-up {mode}", self._bank_for(
            seconds, {"lookup_mode": mode}, {"lookup_mode": "normal"}
        )

    def _lost_and_refused(self) -> Fault:
        """The bank pays, loses its answers, and answers look-ups with "failed"."""
        mode, seconds = self._random.choice(LOSING_MODES), self._random.uniform(2, 8)
        refusing = self._random.choice(REFUSING_LOOKUPS)
        return "bank overloaded", self._bank_for(
            seconds,
            {"mode": mode, "lookup_mode": refusing},
            {"mode": "normal", "lookup_mode": "normal"},
        )

    def _bank_latency(self) -> Fault:
        latency, seconds = self._random.uniform(0.2, 1.4), self._random.uniform(1, 5)
        return "bank latency", self._bank_for(
            seconds, {"latency": latency}, {"latency": 0.02}
        )

    def _bank_for(
        self, seconds: float, faults: dict[str, object], after: dict[str, object]
    ) -> Act:
        bank = self._system.bank
        begin = self._to_bank(lambda: bank.set_faults(**faults))
        end = self._to_bank(lambda: bank.set_faults(**after))

        def act() -> object:
            self._later(seconds, end)
            return begin()

        return act

    def _to_bank(self, act: Act) -> Act:
        """Send the bank settings, unless it is down."""

        def tell() -> object:
            if self._system.bank.name in self._hurt:
                return False
            with contextlib.suppress(OSError):
                return act()
            return False

        return tell

    def _bank_restart(self) -> Fault:
        seconds = self._random.uniform(0.2, 2)
        return "bank killed", lambda: self._restart(self._system.bank, seconds)

    def _kill_worker_child(self) -> Fault:
        worker = self._random.choice(self._system.workers)
        return "worker child killed", self._to_child(worker, signal.SIGKILL)

    def _kill_api_child(self) -> Fault:
        return "API child killed", self._to_child(self._system.api, signal.SIGKILL)

    def _freeze_worker_child(self) -> Fault:
        worker = self._random.choice(self._system.workers)
        seconds = self._random.uniform(1, 20)
        freeze = self._to_child(
            worker,
            signal.SIGSTOP,
            after=lambda pid: self._later(seconds, lambda: send(pid, signal.SIGCONT)),
        )
        return "worker child frozen", freeze

    def _to_child(
        self, parent: Process, signum: int, after: Callable[[int], None] | None = None
    ) -> Act:
        which = self._random.random()

        def act() -> object:
            # A worker that loses a child before it is ready takes it for broken.
            starting = parent in self._system.workers and not parent.said("ready.")
            if parent.name in self._hurt or starting:
                return False
            children = sorted(children_of(parent.pid))
            if not children:
                return False
            pid = children[int(which * len(children))]
            sent = send(pid, signum)
            if sent and after:
                after(pid)
            return sent

        return act

    def _kill_worker(self) -> Fault:
        worker = self._random.choice(self._system.workers)
        seconds = self._random.uniform(0, 6)
        return "worker killed", lambda: self._restart(worker, seconds)

    def _end_worker(self) -> Fault:
        worker = self._random.choice(self._system.workers)
        signum = self._random.choice([signal.SIGTERM, signal.SIGQUIT])
        name = "worker ended warm" if signum == signal.SIGTERM else "worker ended cold"
        return name, lambda: self._hurt_for(
            worker, 10, lambda: worker.signal(signum), worker.start
        )

    def _freeze_worker(self) -> Fault:
        worker = self._random.choice(self._system.workers)
        seconds = self._random.uniform(1, 20)
        return "worker frozen", lambda: self._freeze(worker, seconds)

    def _freeze_api(self) -> Fault:
        seconds = self._random.uniform(0.5, 5)
        return "API frozen", lambda: self._freeze(self._system.api, seconds)

    def _kill_beat(self) -> Fault:
        beat = self._random.choice(self._system.beats)
        seconds = self._random.uniform(0, 6)
        return "Beat killed", lambda: self._restart(beat, seconds)

    def _freeze_beat(self) -> Fault:
        beat = self._random.choice(self._system.beats)
        seconds = self._random.uniform(1, 8)
        return "Beat frozen", lambda: self._freeze(beat, seconds)

    def _restart_broker(self) -> Fault:
        seconds = self._random.uniform(0, 5)
        return "broker killed", lambda: self._restart(self._redis(), seconds)

    def _freeze_broker(self) -> Fault:
        seconds = self._random.uniform(0.5, 8)
        return "broker frozen", lambda: self._freeze(self._redis(), seconds)

    def _flush_broker(self) -> Fault:
        def flush() -> object:
            if self._redis().name in self._hurt:
                return False
            self._redis().flush()
            return True

        return "broker flushed", flush

    def _demote_broker(self) -> Fault:
        """Make it a replica, which answers and takes no message, and later the master."""
        seconds = self._random.uniform(0.5, 8)
        return "broker made a replica", lambda: self._hurt_for(
            self._redis(), seconds, self._redis().demote, self._redis().promote
        )

    def _redis(self) -> OwnRedis:
        if self._system.redis is None:
            raise RuntimeError("the broker is not ours to hurt")
        return self._system.redis
