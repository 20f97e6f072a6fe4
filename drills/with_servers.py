"""Runs a command with database servers of its own.

    python -m drills.with_servers make test

The command finds them in TEST_POSTGRES_URL and TEST_MARIADB_URL. So its result does not
depend on the machine's servers, their data or their settings. A server that ends before
the command does is an error, and the end of its log is printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

from drills import servers
from drills.servers import OwnServer

VARIABLES = {"postgresql": "TEST_POSTGRES_URL", "mariadb": "TEST_MARIADB_URL"}
LINES_OF_LOG = 60


def main(command: list[str]) -> int:
    """Run the command; return its exit code, or 1 if a server ended meanwhile.

    :raises RuntimeError: a server cannot be started here.
    """
    environment = dict(os.environ)
    with ExitStack() as stack:
        started = []
        for kind, variable in VARIABLES.items():
            server = servers.start(kind)
            stack.callback(server.end)
            started.append(server)
            environment[variable] = server.url(
                "postgres" if kind == "postgresql" else ""
            )
        code = subprocess.call(command, env=environment)
        ended = [server for server in started if not server.alive]
        for server in ended:
            _tell(server)
    return code or int(bool(ended))


def _tell(server: OwnServer) -> None:
    lines = server.log.read_text(errors="replace").splitlines()[-LINES_OF_LOG:]
    print(
        f"{server.kind} ended during the run. Its log:", *lines, sep="\n  ", flush=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
