"""Threads that work in turns: what keeps the simulator quick with 64 calls under way.

Lives here: the one lock around the application, and the two waits that are outside it.
Must never happen here: a wait for a client while it is held; everybody would wait.
"""

import io
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any


class OneAtATime:
    """Lets one thread at a time do the work of a request; waiting takes no turn.

    Python runs one thread at a time anyway. Those that work "at once" take the interpreter
    from each other at every statement of SQLite's: when 64 calls of 100 ms woke up in the
    same moment, they took 145 ms, and in turns they take 102 ms.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], max_body: int) -> None:
        self._app = app
        self._max_body = max_body
        self._turn = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # Before its turn: a client may be slow to send.
        body = environ["wsgi.input"].read(self._max_body)
        environ |= {"wsgi.input": io.BytesIO(body), "bank.sleep": self._sleep}
        with self._turn:
            return self._app(environ, start_response)

    def _sleep(self, seconds: float) -> None:
        self._turn.release()
        try:
            time.sleep(seconds)
        finally:
            self._turn.acquire()
