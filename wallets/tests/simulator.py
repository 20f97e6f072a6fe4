"""The bank simulator as a process, with its own port and data file."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import urllib.request
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

APP = Path(__file__).resolve().parents[2] / "third-party" / "app.py"
LISTENING = re.compile(r"listening on (http://\S+)")
PATIENCE = 30


class Simulator:
    """A running simulator until `stop`. It does not use the product's HTTP client."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._data = Path(self._folder.name) / "bank.sqlite3"
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("BANK_")
        }
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(APP)],
            cwd=APP.parent,
            env=environment
            | {
                "BANK_PORT": "0",
                "BANK_DATA": str(self._data),
                "BANK_FAILURE_RATE": "0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.url = self._wait_until_it_listens()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()

    def change(self, **faults: Any) -> None:
        """Switch faults; see third-party/README.md."""
        self._request("PUT", "/faults", faults)

    def payments(self) -> list[dict[str, Any]]:
        """Return its real payments."""
        return self._request("GET", "/payments")

    def book(self) -> None:
        """Book its late payments now, as if their time had come."""
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
        with closing(sqlite3.connect(self._data, timeout=PATIENCE)) as data, data:
            data.execute(
                "UPDATE decisions SET decided_at = ? WHERE decided_at > ?", (now, now)
            )

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE) as response:
            return json.load(response)

    def _wait_until_it_listens(self) -> str:
        timer = threading.Timer(PATIENCE, self._process.kill)
        timer.start()
        try:
            seen = []
            assert self._process.stdout is not None
            for line in self._process.stdout:
                seen.append(line)
                if found := LISTENING.search(line):
                    # Its further output is read, so that the pipe does not fill.
                    threading.Thread(target=self._drain, daemon=True).start()
                    return found[1]
            raise AssertionError(f"the simulator did not start: {''.join(seen)}")
        finally:
            timer.cancel()

    def _drain(self) -> None:
        assert self._process.stdout is not None
        for _ in self._process.stdout:
            continue
