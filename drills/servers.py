"""Database servers of the drill's own: to stop, restart and step their clocks.

A shared server is never touched. Each server has its own folder and port, and its data
are deleted with it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from drills import clock_shim
from drills.clock_shim import SteppedClock
from drills.process import Process, free_port, listens, wait_until

KINDS = ("postgresql", "mariadb")
START_SECONDS = 60


def missing(kind: str) -> str:
    """Return why no server of this kind can be started here; "" if one can."""
    if kind not in KINDS:
        return f"{kind} has no server"
    program = {"postgresql": "initdb", "mariadb": "mariadbd"}[kind]
    if not _binary(program):
        return f"{program} is not installed"
    if os.getuid() == 0 and _user(kind) is None:
        return f"root needs a user {_USERS[kind]} to run it as"
    return ""


def start(kind: str) -> OwnServer:
    """Start a new server and return it when it answers; `end` deletes its data.

    :raises RuntimeError: its data cannot be made here.
    """
    server = {"postgresql": OwnPostgreSQL, "mariadb": OwnMariaDB}[kind]()
    try:
        server.start()
    except BaseException:
        server.end()
        raise
    return server


class OwnServer(Process):
    """A server on a free loopback port. Its data survive `kill` and `start`."""

    kind = ""
    # The signal that ends it at once, without informing its clients.
    _sudden_end = signal.SIGKILL

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"wallet-{self.kind}-"))
        self.user = _user(self.kind)
        self.clock: SteppedClock | None = None
        super().__init__(
            "database",
            self._command_line(self.folder / "data"),
            env=self._variables(),
            log=self.folder / "log",
            user=self.user,
            cwd=self.folder,
        )
        self._own(self.folder)
        self._make(self.folder / "data")

    def url(self, name: str, *, port: int = 0) -> str:
        """Return the address of a database, directly or through a proxy's port."""
        raise NotImplementedError

    def start(self) -> None:
        super().start()
        # A crashed server's memory may still be in use for a moment: then it ends at
        # once.
        wait_until(self._is_up, seconds=START_SECONDS, what=f"{self.kind} to listen")

    def kill(self) -> None:
        """End it at once, like a crash."""
        if self.alive and self._sudden_end != signal.SIGKILL:
            self.thaw()
            self.signal(self._sudden_end)
            self.wait(10)
        super().kill()

    def end(self, patience: float = 10) -> bool:
        """End it for good, and delete its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        return True

    def _is_up(self) -> bool:
        if not self.alive:
            super().start()
        return listens(self.port) and self._accepts()

    def _accepts(self) -> bool:
        """Whether it accepts clients; a listening server may still be recovering."""
        return True

    def _variables(self) -> dict[str, str]:
        """Return its environment, with its own clock if clocks can be stepped."""
        inherited = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        if clock_shim.missing():
            return inherited
        self.clock = SteppedClock(self.folder, "database")
        # Its user may not be allowed to read this folder.
        library = shutil.copy(clock_shim.library(), self.folder / "clock_shim.so")
        return inherited | self.clock.variables | {"LD_PRELOAD": str(library)}

    def _make(self, data: Path) -> None:
        """Create the data of a new server."""
        raise NotImplementedError

    def _command_line(self, data: Path) -> list[str]:
        raise NotImplementedError

    def _own(self, path: Path) -> None:
        if self.user is not None:
            for each in (path, *path.rglob("*")):
                shutil.chown(each, self.user)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            user=self.user,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")


class OwnPostgreSQL(OwnServer):
    kind = "postgresql"
    _sudden_end = signal.SIGQUIT  # its children must not outlive it

    def _accepts(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, name: str, *, port: int = 0) -> str:
        return f"postgres://postgres@127.0.0.1:{port or self.port}/{name}"

    def _make(self, data: Path) -> None:
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        self._run([_binary("initdb"), "-D", str(data), *options])

    def _command_line(self, data: Path) -> list[str]:
        settings: Mapping[str, str] = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            # Killed, not cut off from power: what was written to the system is safe.
            "fsync": "off",
        }
        flags = [word for k, v in settings.items() for word in ("-c", f"{k}={v}")]
        return [_binary("postgres"), "-D", str(data), *flags]


class OwnMariaDB(OwnServer):
    kind = "mariadb"

    def url(self, name: str, *, port: int = 0) -> str:
        # Reading certificates takes PyMySQL longer than everything else.
        address = f"127.0.0.1:{port or self.port}"
        return f"mysql://root@{address}/{name}?ssl_disabled=true"

    def _make(self, data: Path) -> None:
        # A server that starts deletes temporary tables that it finds, those of other
        # servers in the same folder, too.
        temporary = data.parent / "tmp"
        temporary.mkdir()
        self._own(temporary)
        options = [
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            f"--tmpdir={temporary}",
        ]
        program = _binary("mariadb-install-db")
        self._run([program, "--no-defaults", f"--datadir={data}", *options])

    def _command_line(self, data: Path) -> list[str]:
        return [
            _binary("mariadbd"),
            "--no-defaults",
            f"--datadir={data}",
            f"--port={self.port}",
            f"--socket={data.parent / 'socket'}",
            f"--tmpdir={data.parent / 'tmp'}",
            f"--pid-file={data.parent / 'pid'}",
            "--bind-address=127.0.0.1",
            "--character-set-server=utf8mb4",
            "--max-connections=300",
            # Killed, not cut off from power: what was written to the system is safe.
            "--innodb-flush-log-at-trx-commit=2",
        ]


_USERS = {"postgresql": "postgres", "mariadb": "mysql"}


def _user(kind: str) -> str | None:
    """Return the user to run it as (PostgreSQL refuses root); None: this user."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam(_USERS[kind]).pw_name
    except KeyError:
        return None


def _binary(program: str) -> str:
    """Return the path of this program, or ""; Debian's PostgreSQL is not in PATH."""
    installed = Path("/usr/lib/postgresql").glob(f"*/bin/{program}")
    newest = sorted(installed, key=lambda path: int(path.parts[4].split(".")[0]))
    if newest:
        return str(newest[-1])
    return shutil.which(program) or shutil.which(program, path="/usr/sbin") or ""
