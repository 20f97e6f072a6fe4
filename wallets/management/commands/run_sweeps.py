"""`manage.py run_sweeps`: pays withdrawals without broker, worker and Beat."""

import signal
from argparse import ArgumentParser
from typing import Any

from wallets.management.arguments import seconds
from wallets.management.base import DatabaseCommand
from wallets.services.payouts import sweeper
from wallets.utils.messaging import stopping


class Command(DatabaseCommand):
    help = (
        "Run the sweeps (pending, retry, resolve) at their intervals, without a broker. "
        "SIGTERM and Ctrl-C end it when the claimed payments are recorded."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        duration = parser.add_mutually_exclusive_group()
        duration.add_argument(
            "--once", action="store_true", help="one round of each sweep, then end"
        )
        duration.add_argument(
            "--seconds", type=seconds, default=float("inf"), help="end after so long"
        )

    def handle(self, *args: Any, once: bool, seconds: float, **options: Any) -> None:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stopping.announce())
        if once:
            counts = sweeper.run_once()
            self.stdout.write(", ".join(f"{k} {v}" for k, v in counts.items()))
            return
        sweeper.run(seconds=seconds)
