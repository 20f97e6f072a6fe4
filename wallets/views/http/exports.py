"""Long answers, written while the client reads: few at a time, and not for ever."""

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

# In one process: the other threads are for short answers.
MAX_EXPORTS = 2
# Seconds that one may take, reader and all. It breaks off then.
EXPORT_SECONDS = 60.0
RETRY_AFTER_SECONDS = 5
# Of the last so many seconds in which a reader was waited for: who read less than so many
# bytes a second of them gives his place to the next who asks for one.
SLOW_SECONDS = 5.0
LEAST_RATE = 256 * 1024


class ExportTookTooLong(Exception):
    """The client has not read the whole answer in time, or too slowly for who came next."""


@dataclass(eq=False)
class _Place:
    """One long answer under way, and how its reader does."""

    waits_since: float | None  # for its reader; None while a part is being made
    waited: float = 0.0
    handed: int = 0  # bytes of the part that the reader has
    read: int = 0  # bytes of those before
    lost: bool = False
    # What had been read once so long had been waited; the first is about SLOW_SECONDS old.
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque([(0.0, 0)]))

    def is_asked_for_more(self) -> None:
        """The reader has read what it was handed."""
        self.waited = self._waited()
        self.waits_since = None
        self.read += self.handed
        self.handed = 0
        self._marks.append((self.waited, self.read))
        self._forget()

    def hands(self, part: str) -> None:
        """The reader gets this."""
        self.handed = len(part)
        self.waits_since = clock.elapsed()

    def rate(self) -> float:
        """Bytes a second that were read lately, while nothing else was waited for.

        Not from the beginning: sockets take the first megabytes from whoever reads nothing.
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
    """The long answers of one process.

    Who writes one waits for its reader, with a thread and a connection to the database
    (which is in no transaction between two parts). Without a limit a few clients who do
    not read would take all threads.
    """

    def __init__(self, most: int = MAX_EXPORTS) -> None:
        self._most = most
        # Where the last reference goes, a place is given back: maybe while it is held.
        self._changing = threading.RLock()
        self._places: set[_Place] = set()
        self._lost: set[_Place] = set()  # taken away, and still with a thread

    def answer(
        self, parts: Iterator[str], *, is_short: bool, **options: Any
    ) -> HttpResponse | StreamingHttpResponse:
        """Answer with these parts; what `is_short` takes nobody's place.

        When all places are taken, by who reads, the answer is `service_unavailable`, with
        Retry-After. Who reads slowly loses his.
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
        # At the latest when nobody has the answer any more.
        export.close = weakref.finalize(export, self._give_back, place)
        # Django closes it with the response, read or not.
        return StreamingHttpResponse(export, **options)

    def _take(self) -> _Place | None:
        """A place that is free, or that the slowest reader loses. None without any.

        What was taken away has a thread until its reader takes or leaves the part he was
        handed: there are no more of those than places.
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
    """The parts of one long answer, which has a place until it is closed."""

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
