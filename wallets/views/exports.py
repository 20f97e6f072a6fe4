"""Long answers, written while the client reads: few at a time, and not for ever."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse

from wallets.utils import clock
from wallets.views import problems

# In one process: the other threads are for short answers.
MAX_EXPORTS = 2
# Seconds that one may take, reader and all. It breaks off then.
EXPORT_SECONDS = 60.0
RETRY_AFTER_SECONDS = 5


class ExportTookTooLong(Exception):
    """The client has not read the whole answer in time."""


class Exports:
    """The long answers of one process.

    Who writes one waits for its reader, with a thread and a connection to the database
    (which is in no transaction between two parts). Without a limit a few clients who do
    not read would take all threads.
    """

    def __init__(self, most: int = MAX_EXPORTS) -> None:
        self._places = threading.BoundedSemaphore(most)

    def answer(
        self, parts: Iterator[str], *, is_short: bool, **options: Any
    ) -> HttpResponse | StreamingHttpResponse:
        """Answer with these parts; what `is_short` takes nobody's place.

        When all places are taken the answer is `service_unavailable`, with Retry-After.
        """
        if is_short:
            return HttpResponse("".join(parts), **options)
        if not self._places.acquire(blocking=False):
            return problems.answer(
                "service_unavailable",
                "Too many long answers are being read: ask for less, or again later.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        # Django closes it with the response, read or not.
        return StreamingHttpResponse(_Export(parts, self._places), **options)


class _Export(Iterator[str]):
    """The parts of one long answer, which has a place until it is closed."""

    def __init__(self, parts: Iterator[str], places: threading.Semaphore) -> None:
        self._parts = parts
        self._ends = clock.elapsed() + EXPORT_SECONDS
        # Gives the place back once, at the latest when nobody has the answer any more.
        self.close = weakref.finalize(self, places.release)

    def __next__(self) -> str:
        if clock.elapsed() > self._ends:
            raise ExportTookTooLong
        return next(self._parts)


EXPORTS = Exports()
