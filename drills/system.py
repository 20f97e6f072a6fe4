"""The whole service on free loopback ports: API, workers, Beats, broker, bank, database.

Two workers and two Beats, because one of each proves nothing about two.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from drills import services
from drills.broker import OwnRedis
from drills.process import Process, wait_until

# What the bank is declared to be able to do, and what the simulator is made to do.
BANKS = {
    "able": {"THIRD_PARTY_DEDUPES": "true", "THIRD_PARTY_LOOKUP": "true"},
    "dedupes": {"THIRD_PARTY_DEDUPES": "true"},
    "looks-up": {"THIRD_PARTY_LOOKUP": "true"},
    "bare": {},
}
WORKERS, BEATS = ("worker-1", "worker-2"), ("beat-1", "beat-2")


def variables(database_url: str, bank: str) -> dict[str, str]:
    """What all of it is told about, except the addresses that are not known yet."""
    return services.environment(
        {
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "wallet.settings",
            "WEB_CONCURRENCY": "2",
            "WEB_THREADS": "4",
            "LOG_LEVEL": "INFO",
            **BANKS[bank],
        }
    )


class System:
    """All processes, and what each is called. `broker_url`: an outside broker, if any."""

    def __init__(
        self, env: Mapping[str, str], folder: Path, *, bank: str, broker_url: str = ""
    ) -> None:
        self.folder = folder
        self.bank = services.Bank(env, folder)
        self.redis = None if broker_url else OwnRedis(folder)
        self.env = {
            **env,
            "THIRD_PARTY_BASE_URL": self.bank.url,
            "CELERY_BROKER_URL": broker_url or (self.redis.url if self.redis else ""),
        }
        self._bare = bank == "bare"
        self.api = services.Api(self.env, folder)
        self.workers = [services.worker(name, self.env, folder) for name in WORKERS]
        self.beats = [services.beat(name, self.env, folder) for name in BEATS]

    @property
    def processes(self) -> list[Process]:
        """In the order in which they are needed."""
        broker = [self.redis] if self.redis else []
        return [self.bank, *broker, self.api, *self.workers, *self.beats]

    def start(self) -> None:
        """Start everything and wait until it works."""
        for process in self.processes:
            process.start()
        self.heal_bank()
        for worker in self.workers:
            wait_until(
                lambda worker=worker: worker.said("ready."),  # type: ignore[misc]
                seconds=60,
                what=f"{worker.name} to be ready",
            )

    def heal_bank(self) -> None:
        """The bank works, as well as it ever does."""
        self.bank.set_faults(
            failure_rate=0,
            latency=0.02,
            mode="normal",
            lookup_mode="normal",
            bare=self._bare,
        )

    def end(self) -> None:
        """End everything, whatever state it is in."""
        for process in reversed(self.processes):
            process.kill()


def prepare(env: Mapping[str, str]) -> None:
    """Give this process the same settings, and Django."""
    os.environ.update(env)
    import django

    django.setup()
