"""`make attack`: hostile clients of each kind, and the service for an honest client.

The API runs as in production, on loopback and with a database of its own. Each attack
is bounded in connections and seconds. The table has a line for each: how long the
honest client's deposits took, its longest /healthz and /readyz, its errors, and what
happened to the attackers. Exit code 1: the honest client got a wrong answer or waited too long, an
attacker got a 5xx that is not 503, or the database counted a deadlock.

    make attack ARGS="--only silent,idle --count 500 --seconds 5 --database sqlite"
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

from drills import services, settings
from drills.attacks import NAMES, Target, run
from drills.hostile import Outcome, allow_many_files
from drills.stranger import HEALTH, READY, Figures, Stranger

TITLES = (
    "attack",
    "deposits",
    "p50 ms",
    "p99 ms",
    "max ms",
    "/healthz max ms",
    "/readyz max ms",
    "errors",
    "the attackers",
)
BULK = 1000  # deposits in one request


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", default=",".join(NAMES), help="attacks, with commas (all)")
    add("--count", type=int, default=2500, help="connections of each kind (2500)")
    add("--seconds", type=float, default=15, help="of each attack (15)")
    add("--rows", type=int, default=50_000, help="of the long statement (50000)")
    add(
        "--database",
        choices=settings.SERVERS,
        default="postgresql" if "postgresql" in settings.answering() else "sqlite",
        help="made for this and dropped (postgresql if it answers, else sqlite)",
    )
    add(
        "--most",
        type=float,
        default=0,
        help="milliseconds that 99 of 100 deposits of the stranger may take (no limit)",
    )
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def main(arguments: list[str]) -> int:
    """Attack, print the table, and check the honest client's figures."""
    options = options_of(arguments)
    with tempfile.TemporaryDirectory(prefix="attack-") as path:
        folder = Path(path)
        url = settings.address(options.database, folder)
        os.environ.update(services.environment(_variables(url)))
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        from drills import deadlocks
        from drills.databases import Databases, use

        name = str(connection.settings_dict["NAME"])
        own = Databases(name, 0)
        try:
            own.create()
            use(name)
            call_command("migrate", verbosity=0)
            connection.close()
            before = deadlocks.counted()
            wrong = _attack(options, folder)
            # Counted when the API has ended: its connections report at their end.
            if met := deadlocks.counted() - before:
                print(f"deadlocks: {met}", file=sys.stderr)
            return int(wrong + met > 0)
        finally:
            own.drop()


def _variables(url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "wallet.settings",
        "CELERY_BROKER_URL": "memory://",
        "LOG_LEVEL": "WARNING",
    }


def _attack(options: argparse.Namespace, folder: Path) -> int:
    allow_many_files(options.count)
    api = services.Api(dict(os.environ), folder)
    api.start()
    wrong = 0
    try:
        wallets = [_new_wallet(api.port) for _ in range(12)]
        _fill(api.port, wallets[0], options.rows)
        target = Target(
            api.port, options.count, options.seconds, wallets[0], tuple(wallets[2:])
        )
        print("| " + " | ".join(TITLES) + " |\n|" + "---|" * len(TITLES), flush=True)
        _line("none", *_under(None, target, wallets[1]))
        for name in options.only:
            figures, outcome = _under(name, target, wallets[1])
            _line(name, figures, outcome)
            late = options.most and figures.share(0.99) > options.most
            wrong += bool(figures.errors or late or failures(outcome))
            _wait_until_it_answers(api)
    finally:
        api.end()
    said = api.log.read_text()
    if "Traceback" in said or '"stack"' in said:
        print(f"the API logged errors:\n{said[-4000:]}", file=sys.stderr)
        wrong += 1
    return wrong


def failures(outcome: Outcome | None) -> int:
    """Return how many answers a client's input must never get: 5xx but 503."""
    answers = outcome.answers if outcome else {}
    return sum(
        count
        for status, count in answers.items()
        if status.startswith("5") and status != "503"
    )


def _under(
    name: str | None, target: Target, wallet: str
) -> tuple[Figures, Outcome | None]:
    """Return the honest client's figures during this attack, and its outcome."""
    outcome = None
    with Stranger(target.port, wallet) as stranger:
        time.sleep(0.5)
        if name is None:
            time.sleep(min(target.seconds, 5))
        else:
            # Spawned, so that the attackers share no threads and sockets with this
            # process.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                result = pool.apply_async(run, (name, target))
                outcome = result.get(target.seconds + 60)
    return stranger.figures, outcome


def _line(name: str, figures: Figures, outcome: Outcome | None) -> None:
    errors = ", ".join(
        f"{count} of {error}" for error, count in Counter(figures.errors).items()
    )
    cells = [
        name,
        str(len(figures.deposits)),
        *(f"{figures.share(part):.0f}" for part in (0.5, 0.99, 1)),
        *(f"{figures.worst(probe):.0f}" for probe in (HEALTH, READY)),
        errors or "none",
        outcome.text() if outcome else "",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def _ask(port: int, path: str, body: object) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    found: dict[str, object] = json.loads(answer.read())
    connection.close()
    if answer.status >= 300:
        raise RuntimeError(f"POST {path}: {answer.status} {found}")
    return found


def _new_wallet(port: int) -> str:
    return str(_ask(port, "/wallets/", {})["uuid"])


def _fill(port: int, wallet: str, rows: int) -> None:
    for _ in range(0, rows, BULK):
        items = [
            {"wallet": wallet, "amount": 1000, "idempotency_key": str(uuid.uuid4())}
            for _ in range(BULK)
        ]
        _ask(port, "/deposits/", items)


def _wait_until_it_answers(api: services.Api) -> None:
    """Let the last attack's connections end: half a minute at most."""
    ends = time.monotonic() + 30
    while not api.answers() and time.monotonic() < ends:
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
