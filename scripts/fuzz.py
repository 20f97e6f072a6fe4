"""Tests the running API with Schemathesis, on its own database.

Every answer must be documented in the OpenAPI document, and none may be a failure of
the service. It runs on SQLite, and shorter on PostgreSQL and MariaDB if they answer on
loopback, because they refuse other values. DATABASE_URL chooses another empty database
instead; it is migrated.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ops import ROOT, Trouble, servers, services
from ops.steps import dies_with_parent, main

SECONDS_TO_START = 30
# A minute on an idle machine; on a busy one it may take longer.
SECONDS_TO_TEST = 600
SHORT = ["--max-examples", "4"]


def script() -> int:
    if "DATABASE_URL" in os.environ:
        return _fuzz({})
    with tempfile.TemporaryDirectory() as folder:
        verdict = _fuzz({"DATABASE_URL": f"sqlite:///{folder}/db.sqlite3"})
    required = os.environ.get("WALLET_REQUIRE_SERVERS") == "1"
    for server in (servers.POSTGRESQL, servers.MARIADB):
        version, reason = server.probe()
        print(f"{server.name}: {version or reason}", flush=True)
        if version:
            with servers.own_database(server, f"fuzz_{os.getpid()}") as url:
                verdict |= _fuzz({"DATABASE_URL": url}, *SHORT)
        elif required:
            verdict |= 1
    return verdict


def _fuzz(database: dict[str, str], *options: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        # The API needs no broker.
        own = {
            "CELERY_BROKER_URL": "memory://",
            "LOG_LEVEL": "ERROR",
            "WEB_CONCURRENCY": "1",
        }
        env = own | dict(os.environ) | database
        migrate = [sys.executable, "manage.py", "migrate", "-v0"]
        subprocess.run(migrate, cwd=ROOT, env=env, check=True)
        port = services.free_port()
        with (Path(folder) / "server.log").open("w+b") as log:
            serve = ["-m", "wallet.serve", "--port", str(port)]
            server = subprocess.Popen(
                [sys.executable, *serve],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with_parent(),
            )
            try:
                _wait(server, port)
                code = _test(port, folder, *options)
            finally:
                server.terminate()
                server.wait(timeout=20)
            if code:
                log.seek(0)
                print(log.read().decode(errors="replace")[-4000:])
        return code


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(SECONDS_TO_START * 10):
        if services.answers(port):
            return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise Trouble("the API did not start")


def _test(port: int, folder: str, *options: str) -> int:
    tool = str(Path(sys.executable).with_name("schemathesis"))
    config = str(ROOT / "scripts" / "schemathesis.toml")
    address = f"http://127.0.0.1:{port}/api/schema/"
    command = [tool, "--config-file", config, "run", address, *options]
    # In the folder, because the tool leaves files behind.
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, timeout=SECONDS_TO_TEST
    )
    return done.returncode


if __name__ == "__main__":
    main(script)
