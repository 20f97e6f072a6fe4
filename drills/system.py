"""The whole service on free loopback ports: from API and workers to the database.

It has two of each process that works by itself, to test them side by side, and a receiver
of webhooks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from drills import clock_shim, services, webhooks
from drills.broker import OwnRedis
from drills.clock_shim import SteppedClock
from drills.process import Process, wait_until
from drills.proxy import Proxy
from drills.servers import OwnServer
from drills.webhooks import Receiver

# The declared abilities of the bank, and the simulator's settings.
BANKS = {
    "able": {"THIRD_PARTY_DEDUPES": "true", "THIRD_PARTY_LOOKUP": "true"},
    "dedupes": {"THIRD_PARTY_DEDUPES": "true"},
    "looks-up": {"THIRD_PARTY_LOOKUP": "true"},
    "bare": {},
}
WORKERS, BEATS = ("worker-1", "worker-2"), ("beat-1", "beat-2")
SEQUENCERS, COURIERS = ("sequencer-1", "sequencer-2"), ("courier-1", "courier-2")


def variables(database_url: str, bank: str) -> dict[str, str]:
    """Return the settings of all programs, without addresses that are not known yet."""
    return services.environment(
        {
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "wallet.settings",
            "WEB_CONCURRENCY": "2",
            "WEB_THREADS": "4",
            "LOG_LEVEL": "INFO",
            **webhooks.SHORT_TIMES,
            **webhooks.ALLOWED,
            **BANKS[bank],
        }
    )


class System:
    """All processes with their names, and a clock for each that has one.

    `broker_url`: an outside broker, if any. `database`: a server of the drill's own, if
    any; it is reached through `proxy`, which can fall silent.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        folder: Path,
        *,
        bank: str,
        broker_url: str = "",
        database: OwnServer | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self.database, self.proxy = database, proxy
        self.clocks: dict[str, SteppedClock] = {}
        if database is not None and database.clock is not None:
            self.clocks["database"] = database.clock
        self.folder = folder
        self.bank = services.Bank(env, folder)
        self.redis = None if broker_url else OwnRedis(folder)
        self.env = {
            **env,
            "THIRD_PARTY_BASE_URL": self.bank.url,
            "CELERY_BROKER_URL": broker_url or (self.redis.url if self.redis else ""),
        }
        self._bare = bank == "bare"
        self.api = services.Api(self._with_clock("api"), folder)
        self.workers = [
            services.worker(name, self._with_clock(name), folder) for name in WORKERS
        ]
        self.beats = [
            services.beat(name, self._with_clock(name), folder) for name in BEATS
        ]
        self.receiver: Receiver | None = Receiver(folder)
        self.sequencers = [
            services.command(name, "run_events", self._with_clock(name), folder)
            for name in SEQUENCERS
        ]
        self.couriers = [
            services.command(name, "run_webhooks", self._with_clock(name), folder)
            for name in COURIERS
        ]

    def _with_clock(self, name: str) -> dict[str, str]:
        """Return the environment of a program, with its own clock if possible."""
        if clock_shim.missing():
            return self.env
        clock = self.clocks[name] = SteppedClock(self.folder, name)
        return self.env | clock.variables

    @property
    def processes(self) -> list[Process]:
        """The processes, in the order in which they are needed."""
        servers = [self.database, self.redis, self.bank, self.receiver]
        return [
            *(server for server in servers if server),
            self.api,
            *self.payers,
            *self.sequencers,
            *self.couriers,
        ]

    @property
    def payers(self) -> list[Process]:
        """The processes that change the ledger by themselves."""
        return [*self.workers, *self.beats]

    def start(self) -> None:
        """Start everything and wait until it works."""
        for process in self.processes:
            if not process.alive:
                process.start()
        self.heal_bank()
        for worker in self.workers:
            wait_until(
                lambda worker=worker: worker.said("ready."),  # type: ignore[misc]
                seconds=60,
                what=f"{worker.name} to be ready",
            )

    def heal_bank(self) -> None:
        """Switch the bank's faults off."""
        self.bank.set_faults(
            failure_rate=0,
            latency=0.02,
            mode="normal",
            lookup_mode="normal",
            bare=self._bare,
        )

    def end(self) -> None:
        """End everything, whatever its state is."""
        for process in reversed(self.processes):
            process.kill()


def prepare(env: Mapping[str, str]) -> None:
    """Give this process the same settings, and Django."""
    os.environ.update(env)
    import django

    django.setup()
