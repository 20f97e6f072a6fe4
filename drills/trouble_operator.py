"""What an operator does in the middle of all faults: payouts are paused and resumed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Max

from drills.nemesis import Fault, Nemesis
from wallets.models.attempt import Attempt
from wallets.services.operations import pause

T = TypeVar("T")

OPERATOR = "operator drill"
# A claim that has begun before a pause is committed by then.
SETTLE_SECONDS = 2.0
# Except in a process that is frozen in between: one claim of each (two workers with two
# children).
LATE_CLAIMS = 4


class OperatorTrouble(Nemesis):
    """Pauses all payouts; nothing may be claimed meanwhile."""

    def pause_payouts(self) -> Fault:
        """Pause all payouts, and resume them later."""
        seconds = self._random.uniform(4, 10)

        def act() -> object:
            if "payouts" in self._hurt:
                return False
            self._hurt.add("payouts")
            over = threading.Event()
            # A thread has a connection of its own, and may wait for the database.
            thread = threading.Thread(target=self._pause, args=(over,), daemon=True)
            thread.start()
            self.threads.append(thread)
            self._later(seconds, over.set)
            return True

        return "payouts paused", act

    def _pause(self, over: threading.Event) -> None:
        _insist(lambda: pause.pause(reason="chaos", actor=OPERATOR))
        over.wait(SETTLE_SECONDS)
        last = _insist(lambda: Attempt.objects.aggregate(last=Max("pk"))["last"] or 0)
        over.wait()
        claims = _insist(
            lambda: (
                Attempt.objects.filter(pk__gt=last)
                .order_by()
                .values("claim_token")
                .distinct()
                .count()
            )
        )
        if claims > LATE_CLAIMS:
            self.wrongs.append(f"{claims} claims while payouts were paused")
        _insist(lambda: pause.resume(actor=OPERATOR))
        connection.close()
        self._hurt.discard("payouts")


def _insist(work: Callable[[], T]) -> T:
    """Do it as soon as the database answers."""
    for _ in range(100):
        try:
            return work()
        except (DatabaseError, InterfaceError):
            connection.close()
            time.sleep(0.5)
    return work()
