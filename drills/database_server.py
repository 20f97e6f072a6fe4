"""A PostgreSQL or MariaDB server of our own, to stop and start as we like.

On a free loopback port, with a data directory of its own. Must never touch a server that
others use.
"""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

from drills.process import Process, free_port, wait_until

START_SECONDS = 60
STOP_SECONDS = 30


class NoServer(Exception):
    """This machine cannot run such a server; the sentence says why."""


class OwnServer(Process):
    """A server whose data survive its death. `settings` are Django's, for its database."""

    user = ""
    engine = ""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)  # the server's user must get at its own part
        self.port = free_port()
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self._become: list[str] = []
        if os.getuid() == 0:  # neither server runs as root
            self._own()
        self.make()
        super().__init__(
            type(self).__name__,
            [*self._become, *self.command()],
            env=os.environ,
            log=folder / "server.log",
        )

    def _own(self) -> None:
        try:
            account = pwd.getpwnam(self.user)
        except KeyError:
            raise NoServer(f"there is no user {self.user}") from None
        os.chown(self.data, account.pw_uid, account.pw_gid)
        ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
        self._become = [program("setpriv"), *ids, "--clear-groups"]

    def make(self) -> None:
        """Fill the data directory."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What starts the server in the foreground."""
        raise NotImplementedError

    def run(self, *command: str) -> None:
        """Run one of the server's programs as its user."""
        done = subprocess.run(
            [*self._become, *command], cwd="/", capture_output=True, text=True
        )
        if done.returncode:
            raise NoServer(f"{command[0]} failed: {done.stderr.strip()[-500:]}")

    def start(self) -> None:
        super().start()
        wait_until(self.answers, seconds=START_SECONDS, what=f"{self.name} to answer")

    def answers(self) -> bool:
        """Whether it takes sessions now."""
        return subprocess.run(self.ping(), capture_output=True).returncode == 0

    def ping(self) -> list[str]:
        """What succeeds when it takes sessions."""
        raise NotImplementedError

    def stop_immediately(self) -> None:
        """End all sessions wherever they are; nothing is tidied up."""
        raise NotImplementedError

    @property
    def settings(self) -> dict[str, object]:
        """Of a database of that server which has only to be created."""
        return {
            "NAME": "wallet",
            "USER": "postgres" if self.user == "postgres" else "root",
            "PASSWORD": "",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
        }


class OwnPostgreSQL(OwnServer):
    user = "postgres"

    def make(self) -> None:
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        path = os.pathsep.join([*reversed(found), os.environ.get("PATH", "")])
        self._server = program("postgres", path)
        self._ready = program("pg_isready", path)
        options = ["-D", str(self.data), "-A", "trust", "-U", "postgres", "--no-sync"]
        self.run(program("initdb", path), *options, "-E", "UTF8", "--locale=C")

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "port": str(self.port),
            "fsync": "off",  # the machine goes on
        }
        flags = [f"--{name}={value}" for name, value in options.items()]
        return [self._server, "-D", str(self.data), *flags]

    def ping(self) -> list[str]:
        return [self._ready, "-h", "127.0.0.1", "-p", str(self.port)]

    def stop_immediately(self) -> None:
        self.signal(signal.SIGQUIT)
        wait_until(lambda: not self.alive, seconds=STOP_SECONDS, what="its end")


class OwnMariaDB(OwnServer):
    user = "mysql"

    def make(self) -> None:
        self._server = program("mariadbd")
        self._admin = program("mariadb-admin")
        self.run(
            program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )

    def command(self) -> list[str]:
        return [
            self._server,
            "--no-defaults",
            f"--datadir={self.data}",
            f"--socket={self.data}/socket",
            f"--pid-file={self.data}/pid",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--innodb-flush-log-at-trx-commit=2",  # the machine goes on
        ]

    def ping(self) -> list[str]:
        where = ["--host=127.0.0.1", f"--port={self.port}", "--user=root"]
        return [self._admin, "--no-defaults", *where, "ping"]

    def stop_immediately(self) -> None:
        self.kill()


def restart(server: OwnServer, *, away: float) -> None:
    """Have it away for so many seconds."""
    server.stop_immediately()
    time.sleep(away)
    server.start()


def program(name: str, path: str | None = None) -> str:
    """Where a program is.

    :raises NoServer: when it is not there.
    """
    found = shutil.which(name, path=path or f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise NoServer(f"{name} is not installed")
    return found
