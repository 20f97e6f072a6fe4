"""`python -m benchmarks`: see `--help`. `make bench` installs its packages first."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENGINES = ("postgresql", "mariadb", "sqlite")
# The parts that can be measured alone.
PARTS = ("endpoints", "drains", "lateness", "history", "others")


def main() -> int:
    """Measure, print the figures and store them."""
    options = _options()
    # SIGTERM ends the run like Ctrl-C, so that its databases are dropped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.path.insert(0, str(ROOT / "scripts"))
    from ops import servers

    urls = {"postgresql": servers.POSTGRESQL.url, "mariadb": servers.MARIADB.url}
    versions = {}
    for server in (servers.POSTGRESQL, servers.REDIS, servers.MARIADB):
        version, reason = server.probe()
        if version:
            versions[server.name] = version
        elif server is not servers.MARIADB:
            print(
                f"{server.name} does not answer on {server.address} ({reason}): start "
                f"it there, or name another one in {server.variable}",
                file=sys.stderr,
            )
            return 1
    from benchmarks.anchor import find_pgbench

    if not find_pgbench():
        print("pgbench is not installed (it comes with PostgreSQL)", file=sys.stderr)
        return 1
    name = f"wallet_bench_{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="wallet-bench-") as folder:
        url = f"sqlite:///{folder}/db.sqlite3"
        if options.engine != "sqlite":
            url = servers.database_url(urls[options.engine], name)
        os.environ["DATABASE_URL"] = url
        # Only for this process, which fills and drops databases. The programs under
        # test have the default.
        os.environ["DATABASE_STATEMENT_TIMEOUT"] = "0"
        result = measure(options, url, servers.REDIS.url)
    if options.engine != "postgresql":
        rates = json.dumps(result["rates"])
        if options.output:
            options.output.write_text(rates)
        else:
            print(rates)
        return 0
    return _report(options, result, versions)


def measure(options: argparse.Namespace, url: str, broker_url: str) -> dict[str, Any]:
    """Measure on the database engine of the environment."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")
    import django

    django.setup()
    from benchmarks import report, sizes
    from benchmarks.run import Run

    run = Run(url, broker_url, getattr(sizes, options.size))
    if options.engine == "sqlite":
        run.sqlite_together()
    elif options.engine == "mariadb":
        run.measure(["endpoints", "drains"])
    else:
        run.measure(options.only or PARTS, memory=options.memory)
    result: dict[str, Any] = {"rates": report.rates(run.loads)}
    if run.memory:
        result["memory"] = run.memory
    return result


def _report(
    options: argparse.Namespace, result: dict[str, Any], versions: dict[str, str]
) -> int:
    from benchmarks import report, sizes

    if not options.only or "others" in options.only:
        result["other_engines"] = {
            engine: _measured_on(engine, options)
            for engine in ENGINES[1:]
            if engine == "sqlite" or "MariaDB" in versions
        }
    measured = report.figures(report.all_rates(result))
    result = {**measured, **result, **report.circumstances(versions)}
    if options.size != "FULL":
        print(f"Not the real sizes: a first look. {getattr(sizes, options.size)}")
    print(report.table(result))
    output = options.output
    if options.size == "FULL" and not options.only:
        output = output or report.LATEST
    if output:
        report.write(result, output)
        print(f"written: {output}")
    return 0


def _measured_on(engine: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the rates on another engine, measured in a process of its own."""
    print(engine, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "rates.json"
        command = [sys.executable, "-m", "benchmarks", "--engine", engine]
        command += ["--output", str(output)]
        if options.size != "FULL":
            command.append(f"--{options.size.lower()}")
        subprocess.run(command, cwd=ROOT, check=True)
        found: dict[str, Any] = json.loads(output.read_text())
        return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    add = parser.add_argument
    add("--quick", dest="size", action="store_const", const="QUICK", default="FULL")
    add("--short", dest="size", action="store_const", const="SHORT", help="it runs")
    add("--only", type=_parts, help=f"some of {','.join(PARTS)}")
    add("--memory", action="store_true", help="is memory flat, too")
    add("--engine", choices=ENGINES, default="postgresql")
    add("--output", type=Path, help="a file to write to (a whole run: latest.json)")
    return parser.parse_args()


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if unknown := set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return parts


if __name__ == "__main__":
    sys.exit(main())
