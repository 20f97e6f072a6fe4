"""`make test`: all tests, on every database and broker that answers.

All tests run on SQLite. If PostgreSQL and MariaDB answer, every test that uses a
database runs on them, too. If Redis and RabbitMQ answer, the tests that need them run.
With WALLET_REQUIRE_SERVERS=1 a server that does not answer is a failure. A failed test
is not repeated.
"""

from __future__ import annotations

import os
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ops import VAR, Trouble, environment, npm
from ops.steps import main, run_together

if TYPE_CHECKING:
    from ops.servers import Server

# The caller's settings must not decide the result of the tests.
OWN_PREFIXES = (
    "API_",
    "ALLOWED_HOSTS",
    "BANK_",
    "CELERY_",
    "DATABASE_",
    "DB_",
    "DEBUG",
    "LOG_LEVEL",
    "PORT",
    "SECRET_KEY",
    "SECURE_",
    "THIRD_PARTY_",
    "WALLET_VAR",
    "WEB_",
    "WITHDRAWAL",
)
# With this variable, hundreds of processes would compile all modules again.
SLOWS_DOWN = ("PYTHONDONTWRITEBYTECODE",)
PRODUCT = ["wallet", "wallets", "console", "events"]
# Installed with API_AUTH=keys only; without it pytest leaves out all but one module.
KEYS = ["access"]
MOST_NAMES = 30  # of each part's failed tests, at the end of the output
PARALLEL = ("--dist", "loadscope", "--no-loadscope-reorder", "--slow-first", "-n")


@dataclass
class Result:
    """The result of one part of the run."""

    name: str
    detail: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    note: str = ""
    names_of_failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return f"  {self.name:<16} {self.detail:<28} {self.note or counts}"


@dataclass(frozen=True)
class Part:
    """One run of pytest: its paths, its server, and the variables that select it."""

    name: str
    detail: str
    paths: list[str]
    env: dict[str, str]
    options: tuple[str, ...] = ()


@dataclass
class Round:
    """All parts of one `make test`, and their common settings."""

    options: list[str]
    folder: Path
    base_env: dict[str, str]
    results: list[Result] = field(default_factory=list)

    def run(self, parts: list[Part]) -> None:
        """Run the parts concurrently; print the first one's output at once."""
        reports = [self.folder / f"{part.name}.xml" for part in parts]
        logs = [self.folder / f"{part.name}.log" for part in parts[1:]]
        print(f"\n=== {_title(parts[0])} ===", flush=True)
        with ExitStack() as stack:
            outputs = [None, *(stack.enter_context(log.open("wb")) for log in logs)]
            codes = run_together(
                [
                    (self._command(part, report), {**self.base_env, **part.env}, output)
                    for part, report, output in zip(
                        parts, reports, outputs, strict=True
                    )
                ]
            )
        for part, log in zip(parts[1:], logs, strict=True):
            print(f"\n=== {_title(part)} ===\n{log.read_text()}", flush=True)
        for part, report, code in zip(parts, reports, codes, strict=True):
            self.results.append(_result(part, report, code))

    def _command(self, part: Part, report: Path) -> list[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-rs", f"--junitxml={report}"]
        return [*command, *part.options, *self.options, *part.paths]


def _title(part: Part) -> str:
    return f"{part.name} ({part.detail})"


def _result(part: Part, report: Path, code: int) -> Result:
    """Return the result of a part; a part without tests has failed."""
    result = Result(part.name, part.detail)
    if report.exists():
        _count(report, result)
    if code != 0 and result.failed == 0:
        reason = "no tests" if code == 5 else f"pytest ended with {code}"
        result.failed, result.note = 1, reason
    return result


def _count(report: Path, result: Result) -> None:
    """Count each test once, by the worst outcome of the test and its subtests."""
    ranks: dict[str, int] = {}
    # pytest has just written the report, so it is trusted.
    for case in ElementTree.parse(report).getroot().iter("testcase"):  # noqa: S314
        outcomes = {child.tag for child in case}
        rank = 2 if outcomes & {"failure", "error"} else int("skipped" in outcomes)
        name = f"{case.get('classname')}.{case.get('name')}"
        ranks[name] = max(rank, ranks.get(name, 0))
    counts = [list(ranks.values()).count(rank) for rank in range(3)]
    result.passed, result.skipped, result.failed = counts
    result.names_of_failed = [name for name, rank in ranks.items() if rank == 2]


def _everything(this: Round, required: bool) -> None:
    """Run the product's tests on all databases concurrently, and then the other parts.

    The product's tests mostly wait for servers, processes and clocks. The other parts
    start whole services and measure waits, so they run without the product's tests.
    """
    from ops import servers

    databases = (servers.POSTGRESQL, servers.MARIADB)
    answers = {server.name: server.probe() for server in servers.ALL}
    for server in servers.ALL:
        # The tests use the servers that variables name: here only those that answer.
        this.base_env.pop(server.variable, None)
        if answers[server.name][0]:
            this.base_env[server.variable] = server.url
    parts, name, notes = [_sqlite(this)], f"wallet_{os.getpid()}", []
    for server in servers.ALL:
        version, reason = answers[server.name]
        detail = f"{version} at {server.address}"
        if not version:
            note = f"{'MISSING' if required else 'not used'}: {reason}"
            missing = Result(server.name, f"at {server.address}", note=note)
            missing.failed = int(required)
            notes.append(missing)
        elif server in databases:
            env = {"DATABASE_URL": servers.database_url(server.url, name)}
            if server is servers.MARIADB:
                # PyMySQL reads the machine's certificates for each connection, which
                # takes 30 ms, and then does not use them.
                env["SSL_CERT_FILE"] = os.devnull
            options = (*PARALLEL, "2", "--database-only")
            parts.append(Part(server.name, detail, PRODUCT, env, options))
        else:
            notes.append(Result(server.name, detail, note="used"))
    used = [server for server in databases if answers[server.name][0]]
    try:
        this.run(parts)
        this.run([_with_keys(part) for part in parts])
    finally:
        for server in used:
            # Its own tests have failed already if it ended during the run.
            if server.probe()[0]:
                servers.drop_test_databases(server, name)
    this.run(_others(this))
    this.results.extend(notes)
    this.results.extend(_ended(server) for server in used if not server.probe()[0])


def _ended(server: Server) -> Result:
    """Return the failure of a server that answered when the run began."""
    note = f"ENDED during the run: {server.probe()[1]}"
    return Result(server.name, f"at {server.address}", failed=1, note=note)


def _sqlite(this: Round, *options: str) -> Part:
    env = {"DATABASE_URL": f"sqlite:///{this.folder / 'db.sqlite3'}"}
    detail = "quick" if options else "a file"
    # Tests that no database affects run only here.
    return Part("SQLite", detail, PRODUCT, env, (*PARALLEL, "3", *options))


def _with_keys(part: Part) -> Part:
    """Return the part for the tests of keys, on the same database."""
    env = part.env | {"API_AUTH": "keys"}
    only = [option for option in part.options if option == "--database-only"]
    options = ("--create-db", *only, *PARALLEL, "1")
    return Part(f"{part.name}, keys", part.detail, KEYS, env, options)


def _others(this: Round) -> list[Part]:
    """Return the parts for the bank simulator, the scripts and the benchmarks."""
    return [
        Part(
            name,
            folder,
            [folder],
            {"DATABASE_URL": f"sqlite:///{this.folder / folder}.sqlite3"},
        )
        for name, folder in (
            ("bank simulator", "third-party"),
            ("scripts", "scripts"),
            ("benchmarks", "benchmarks"),
        )
    ]


def _install_generators() -> None:
    """Install the generators of TypeScript clients; without them their tests skip."""
    try:
        npm.install()
    except Trouble as trouble:
        print(trouble, flush=True)


def script() -> int:
    optional = ["browser"] if shutil.which("chromium") else []
    if "--quick" not in sys.argv and shutil.which("npm"):
        optional.append("clients")
        _install_generators()
    python = environment.install("run", "local", "test", *optional)
    if Path(sys.prefix).resolve() != environment.VENV.resolve():
        os.execv(python, [str(python), __file__, *sys.argv[1:]])  # noqa: S606
    options = [option for option in sys.argv[1:] if option != "--quick"]
    folder = VAR / "test" / str(os.getpid())
    folder.mkdir(parents=True)
    base_env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OWN_PREFIXES) and name not in SLOWS_DOWN
    }
    this = Round(options, folder, base_env)
    try:
        if "--quick" in sys.argv:
            this.run([_sqlite(this, "-m", "not slow")])
        else:
            _everything(this, os.environ.get("WALLET_REQUIRE_SERVERS") == "1")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\nServers and results:")
    for result in this.results:
        print(result)
    passed, failed, skipped = (
        sum(getattr(result, key) for result in this.results)
        for key in ("passed", "failed", "skipped")
    )
    for result in this.results:
        for name in result.names_of_failed[:MOST_NAMES]:
            print(f"  FAILED on {result.name}: {name}")
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    main(script)
