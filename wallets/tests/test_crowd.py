"""How the server's processes share connections."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.test import SimpleTestCase

from wallet import server
from wallet.crowd import PLACES, Crowd
from wallet.server import Worker


class CrowdTest(SimpleTestCase):
    """A process…"""

    def setUp(self) -> None:
        self.crowd = Crowd()

    def lead(self, connections: int) -> int:
        return self.crowd.lead(1, connections)

    def test_leads_by_what_it_has_more_than_the_one_with_the_fewest(self) -> None:
        self.crowd.say(2, 4)
        self.crowd.say(PLACES + 3, 1)
        self.assertEqual([self.lead(n) for n in (0, 1, 2, 9)], [0, 0, 1, 8])

    def test_leads_nobody_where_it_is_alone(self) -> None:
        self.assertEqual(self.lead(9), 0)

    def test_leads_nobody_who_has_left(self) -> None:
        self.crowd.say(2, 1)
        self.assertEqual(self.lead(9), 8)
        self.crowd.leave(2)
        self.assertEqual(self.lead(9), 0)

    def test_knows_what_another_process_says(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.crowd.say(2, 3)
            os._exit(0)
        os.waitpid(pid, 0)
        self.assertEqual(self.lead(5), 2)


class WorkerTest(SimpleTestCase):
    """A worker…"""

    def accepts_after(self, connections: int, *, others: int) -> list[float]:
        """For how long it has slept before it accepts."""
        crowd = Crowd()
        crowd.say(2, others)
        worker: Any = object.__new__(Worker)
        worker.__dict__.update(nr_conns=connections, age=1)
        seconds: list[float] = []
        clock = SimpleNamespace(sleep=seconds.append)
        with (
            mock.patch.object(server, "CROWD", crowd),
            mock.patch.object(server, "time", clock),
        ):
            worker.lets_others_go_first()
        return seconds

    def test_takes_a_connection_at_once_unless_another_has_fewer(self) -> None:
        for connections in (0, 3, 8):
            self.assertEqual(self.accepts_after(connections, others=8), [])

    def test_leaves_it_for_a_moment_to_one_who_has_fewer(self) -> None:
        (one,), (two,) = (self.accepts_after(n, others=3) for n in (4, 5))
        self.assertEqual(two, 2 * one)

    def test_waits_for_nobody_for_long(self) -> None:
        """The other one may hang."""
        (longest,) = self.accepts_after(500, others=0)
        self.assertLessEqual(longest, 0.002)
