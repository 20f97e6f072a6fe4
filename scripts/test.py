"""`make test`: everything, on every database and broker that answers.

SQLite always; PostgreSQL and MariaDB each get the whole suite where they answer, Redis
and RabbitMQ are handed to the tests that need them. With WALLET_REQUIRE_SERVERS=1 a
server that does not answer is a failure. Nothing is retried: red means red.
"""

from __future__ import annotations

import os
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops import ROOT, VAR, environment
from ops.steps import main, run

# Settings of the person who runs the tests must not decide their outcome.
OWN_PREFIXES = (
    "ALLOWED_HOSTS",
    "BANK_",
    "CELERY_",
    "DATABASE_URL",
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
PRODUCT = [name for name in ("wallet", "wallets", "console") if (ROOT / name).is_dir()]


@dataclass
class Result:
    """What one part of the test run came to."""

    name: str
    detail: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    note: str = ""

    def __str__(self) -> str:
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return f"  {self.name:<16} {self.detail:<28} {self.note or counts}"


@dataclass
class Round:
    """All runs of one `make test`, and what they share."""

    options: list[str]
    quick: bool
    folder: Path
    base_env: dict[str, str]
    results: list[Result] = field(default_factory=list)

    def pytest(
        self, name: str, detail: str, paths: list[str], env: Mapping[str, str]
    ) -> None:
        """Run pytest once and note the outcome; never passes for having no tests."""
        print(f"\n=== {name} ({detail}) ===", flush=True)
        report = self.folder / f"{len(self.results)}.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-rs", f"--junitxml={report}"]
        code = run([*command, *self.options, *paths], {**self.base_env, **env})
        result = Result(name, detail)
        self.results.append(result)
        if report.exists():
            _count(report, result)
        if code != 0 and result.failed == 0:
            reason = "no tests" if code == 5 else f"pytest ended with {code}"
            result.failed, result.note = 1, reason


def _count(report: Path, result: Result) -> None:
    """Count each test once, by its worst outcome; its subtests are part of it."""
    ranks: dict[tuple[str | None, str | None], int] = {}
    # The report is pytest's own, written a moment ago.
    for case in ElementTree.parse(report).getroot().iter("testcase"):  # noqa: S314
        outcomes = {child.tag for child in case}
        rank = 2 if outcomes & {"failure", "error"} else int("skipped" in outcomes)
        key = case.get("classname"), case.get("name")
        ranks[key] = max(rank, ranks.get(key, 0))
    counts = [list(ranks.values()).count(rank) for rank in range(3)]
    result.passed, result.skipped, result.failed = counts


def _databases(this: Round, required: bool) -> None:
    """Run the product's tests on every database that answers."""
    from ops import servers

    parallel = ["-n", "2", "--dist", "loadscope", *PRODUCT]
    answers = {server.name: server.probe() for server in servers.ALL}
    for server in servers.ALL:
        if answers[server.name][0]:
            this.base_env[server.variable] = server.url
    file = this.folder / "db.sqlite3"
    this.pytest("SQLite", "a file", parallel, {"DATABASE_URL": f"sqlite:///{file}"})
    for server in servers.ALL:
        version, reason = answers[server.name]
        detail = f"{version} at {server.address}"
        if not version:
            note = f"{'MISSING' if required else 'not used'}: {reason}"
            result = Result(server.name, f"at {server.address}", note=note)
            result.failed = int(required)
            this.results.append(result)
        elif server in (servers.POSTGRESQL, servers.MARIADB):
            name = f"wallet_{os.getpid()}"
            url = servers.database_url(server.url, name)
            try:
                this.pytest(server.name, detail, parallel, {"DATABASE_URL": url})
            finally:
                servers.drop_test_databases(server, name)
        else:
            this.results.append(Result(server.name, detail, note="used"))


def _quick(this: Round) -> None:
    file = this.folder / "db.sqlite3"
    options = ["-m", "not slow", "-n", "2", "--dist", "loadscope"]
    this.pytest(
        "SQLite",
        "quick",
        [*options, *PRODUCT],
        {"DATABASE_URL": f"sqlite:///{file}"},
    )


def _others(this: Round) -> None:
    """Run what needs no database server: the bank simulator, the two commands."""
    for name, folder in (("bank simulator", "third-party"), ("scripts", "scripts")):
        if any((ROOT / folder).rglob("test_*.py")):
            file = this.folder / f"{folder}.sqlite3"
            env = {"DATABASE_URL": f"sqlite:///{file}"}
            this.pytest(name, folder, [folder], env)


def script() -> int:
    browser = ["browser"] if shutil.which("chromium") else []
    python = environment.install("run", "local", "test", *browser)
    if Path(sys.prefix).resolve() != environment.VENV.resolve():
        os.execv(python, [str(python), __file__, *sys.argv[1:]])  # noqa: S606
    options = [option for option in sys.argv[1:] if option != "--quick"]
    folder = VAR / "test" / str(os.getpid())
    folder.mkdir(parents=True)
    base_env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OWN_PREFIXES)
    }
    this = Round(options, len(options) < len(sys.argv) - 1, folder, base_env)
    try:
        if this.quick:
            _quick(this)
        else:
            _databases(this, os.environ.get("WALLET_REQUIRE_SERVERS") == "1")
            _others(this)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\nUsed, and what came of it:")
    for result in this.results:
        print(result)
    passed, failed, skipped = (
        sum(getattr(result, key) for result in this.results)
        for key in ("passed", "failed", "skipped")
    )
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    main(script)
