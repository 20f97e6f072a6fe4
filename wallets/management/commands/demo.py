"""`manage.py demo`: a day of demo data, for the console and its plots."""

from __future__ import annotations

import logging
from argparse import ArgumentParser
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import CommandError

from wallets.management.base import DatabaseCommand
from wallets.management.demo_day import DemoDay
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.operations import heartbeat, pause, readiness
from wallets.utils.bank import simulator
from wallets.utils.bank.interface import Payment
from wallets.utils.database.transactions import database_now

BAR_WIDTH = 40
# This machine, and the simulator of the compose file.
TEST_BANKS = {"localhost", "127.0.0.1", "::1", "third-party"}


class Command(DatabaseCommand):
    help = "Fill a fresh system with wallets and a day of movements."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--wallets", type=int, default=40)
        parser.add_argument("--withdrawals", type=int, default=1500)
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument(
            "--once",
            action="store_true",
            help="do nothing, and succeed, if there are transactions already",
        )

    def handle(
        self,
        *args: Any,
        wallets: int,
        withdrawals: int,
        seed: int,
        once: bool,
        **options: Any,
    ) -> None:
        if not (1 <= wallets <= 10_000 and 0 <= withdrawals <= 100_000):
            raise CommandError("At most 10000 wallets and 100000 withdrawals.")
        if once and Transaction.objects.exists():
            self.stdout.write("There are transactions already: nothing is added.")
            return
        self._refuse_where_it_could_hurt()
        day = DemoDay(
            end=database_now(), wallets=wallets, withdrawals=withdrawals, seed=seed
        )
        # A log line for each withdrawal would break the progress bar.
        logging.disable(logging.ERROR)
        try:
            day.live(self._bar())
        finally:
            logging.disable(logging.NOTSET)
        self._tell_the_simulator(day.paid)
        self.stdout.write(
            self.style.SUCCESS(
                f"{Wallet.objects.count()} wallets, "
                f"{Transaction.objects.count()} transactions. Now start the worker and "
                "beat, and open the console."
            )
        )

    def _refuse_where_it_could_hurt(self) -> None:
        """Refuse a system with real data or with a real bank."""
        if Transaction.objects.exists():
            raise CommandError(
                "This system holds transactions. Demo data goes into an empty one only."
            )
        if urlsplit(settings.THIRD_PARTY_BASE_URL).hostname not in TEST_BANKS:
            raise CommandError(
                "THIRD_PARTY_BASE_URL is not this machine's simulator: a worker would "
                "have the demo's scheduled withdrawals paid there."
            )
        sweeps = readiness.sweeps(database_now())
        if any(one.lately for one in sweeps if one.name != heartbeat.STATEMENT):
            raise CommandError(
                "Workers are running: they would pay the demo's past at once. Stop "
                "them (Ctrl-C in `make run`), wait four minutes, and try again."
            )
        if settings.WITHDRAWALS_PAUSED:
            raise CommandError("WITHDRAWALS_PAUSED is set: nothing could be paid.")
        if pause.is_paused():
            raise CommandError("Payouts are paused: `manage.py payouts resume` first.")

    def _tell_the_simulator(self, paid: list[tuple[Payment, datetime]]) -> None:
        """Put the day's payments into the simulator's list, so that it agrees."""
        try:
            simulator.take_over(settings.THIRD_PARTY_BASE_URL, paid)
        except OSError as error:
            self.stderr.write(
                f"No simulator at {settings.THIRD_PARTY_BASE_URL} took the day's "
                f"{len(paid)} payments ({error}): `reconcile_bank` will miss them."
            )

    def _bar(self) -> Any:
        """Return a progress bar for a terminal, or a line at each quarter."""
        shown = -1

        def show(share: float) -> None:
            nonlocal shown
            terminal = self.stderr.isatty()
            step = int(share * (200 if terminal else 4))
            if step == shown:
                return
            shown = step
            percent = f"{share:4.0%}"
            if not terminal:
                self.stderr.write(f"a day of movements: {percent}")
                return
            filled = int(BAR_WIDTH * share)
            bar = "#" * filled + "." * (BAR_WIDTH - filled)
            self.stderr.write(f"\r[{bar}] {percent} of a day", ending="")
            if share >= 1:
                self.stderr.write("")
            self.stderr.flush()

        return show
