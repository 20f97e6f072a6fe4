"""Long answers that are written while the client reads: bounded in number and time."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse

from wallets.utils import clock
from wallets.views.problems import problem_response

# The most exports in one process; the other threads are for short answers.
MAX_EXPORTS = 2
# The most seconds of an export, including the waits for its reader.
EXPORT_SECONDS = 60.0
RETRY_AFTER_SECONDS = 5
# A reader that read less than LEAST_RATE bytes a second, in the last SLOW_SECONDS of
# waiting for it, loses its place to the next client.
SLOW_SECONDS = 5.0
LEAST_RATE = 256 * 1024


class ExportTookTooLong(Exception):
    """The client read too slowly, or took too long for the whole answer."""


@dataclass(eq=False)
class _Place:
    """A running export, and the progress of its reader."""

    waits_since: float | None  # waits for the reader; None while a part is made
    waited: float = 0.0
    handed: int = 0  # bytes of the part that is being read
    read: int = 0  # bytes of earlier parts
    lost: bool = False
    # Pairs of waited time and bytes read; the first one is about SLOW_SECONDS old.
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque([(0.0, 0)]))

    def is_asked_for_more(self) -> None:
        """Note that the reader has read the last part."""
        self.waited = self._waited()
        self.waits_since = None
        self.read += self.handed
        self.handed = 0
        self._marks.append((self.waited, self.read))
        self._forget()

    def hands(self, part: str) -> None:
        """Note that the reader gets this part."""
        self.handed = len(part)
        self.waits_since = clock.elapsed()

    def rate(self) -> float:
        """Return the bytes a second that the reader has read lately.

        Only the time of waiting for the reader counts. Not from the beginning, because
        sockets buffer the first megabytes.
        """
        self._forget()
        then, read = self._marks[0]
        waited = self._waited() - then
        return (self.read - read) / waited if waited > SLOW_SECONDS else float("inf")

    def _waited(self) -> float:
        now = clock.elapsed()
        return self.waited + (0 if self.waits_since is None else now - self.waits_since)

    def _forget(self) -> None:
        old = self._waited() - SLOW_SECONDS
        while len(self._marks) > 1 and self._marks[1][0] < old:
            self._marks.popleft()


class Exports:
    """The exports of one process.

    An export uses a thread and a database connection while it waits for its reader
    (outside of transactions between two parts). Without a limit a few clients that do
    not read would take all threads.
    """

    def __init__(self, most: int = MAX_EXPORTS) -> None:
        self._most = most
        # Garbage collection may release a place at any time, also while the lock is
        # held.
        self._changing = threading.RLock()
        self._places: set[_Place] = set()
        self._lost: set[_Place] = set()  # lost, and still using a thread

    def answer(
        self, parts: Iterator[str], *, is_short: bool, **options: Any
    ) -> HttpResponse | StreamingHttpResponse:
        """Answer with these parts; a short answer needs no place.

        If all places are taken by fast readers, the answer is `service_unavailable`
        with Retry-After. A slow reader loses its place.
        """
        if is_short:
            return HttpResponse("".join(parts), **options)
        place = self._take()
        if place is None:
            return problem_response.answer(
                "service_unavailable",
                "Too many long answers are being read: ask for less, or again later.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        export = _Export(parts, place)
        # At the latest when the answer is garbage collected.
        export.close = weakref.finalize(export, self._give_back, place)
        # Django closes it with the response, read or not.
        return StreamingHttpResponse(export, **options)

    def _take(self) -> _Place | None:
        """Return a free place, or that of the slowest reader; None without any.

        A lost place uses a thread until its reader has read or dropped its part, so at
        most as many places can be lost as there are.
        """
        with self._changing:
            if len(self._places) == self._most:
                slowest = min([*self._places], key=_Place.rate)
                if slowest.rate() >= LEAST_RATE or len(self._lost) == self._most:
                    return None
                slowest.lost = True
                self._places.remove(slowest)
                self._lost.add(slowest)
            place = _Place(waits_since=clock.elapsed())
            self._places.add(place)
            return place

    def _give_back(self, place: _Place) -> None:
        with self._changing:
            self._places.discard(place)
            self._lost.discard(place)


class _Export(Iterator[str]):
    """The parts of one export, which has a place until it is closed."""

    close: Any

    def __init__(self, parts: Iterator[str], place: _Place) -> None:
        self._parts = parts
        self._place = place
        self._ends = clock.elapsed() + EXPORT_SECONDS

    def __next__(self) -> str:
        self._place.is_asked_for_more()
        if self._place.lost or clock.elapsed() > self._ends:
            raise ExportTookTooLong
        part = next(self._parts)
        self._place.hands(part)
        return part


EXPORTS = Exports()
