"""`manage.py wait_for_db`: waits until the database answers."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.utils import Error

from wallets.management.arguments import seconds
from wallets.utils import clock


class Command(BaseCommand):
    help = "Wait until the database answers; fail after --timeout seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--timeout", type=seconds, default=60, help="seconds")

    def handle(self, *args: Any, timeout: float, **options: Any) -> None:
        ends = clock.elapsed() + timeout
        while True:
            try:
                connection.ensure_connection()
            except Error as error:
                if clock.elapsed() >= ends:
                    reason = str(error).strip().splitlines()[:1]
                    raise CommandError(
                        f"no database after {timeout:g} s: {' '.join(reason)}"
                    ) from None
                connection.close()
                time.sleep(0.5)
            else:
                self.stdout.write(self.style.SUCCESS("The database answers."))
                return
