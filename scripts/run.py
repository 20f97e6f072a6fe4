"""`make run`: the whole service on this machine, in the foreground, until Ctrl-C.

`make demo` does the same with its own data: a day of demo data.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from ops import ROOT, VAR, Trouble, environment, services, settings_of_run
from ops.environment import PYTHON
from ops.processes import Supervisor
from ops.steps import dies_with_parent, last_line, main, run_logged

# From the signal to the end of the last process: a bank call of at most 6 s may finish.
SECONDS_TO_STOP = 9.0
SECONDS_TO_START = 60.0
SECONDS_TO_FILL = 1800.0
DEMO = VAR / "demo"
# Wait until the starting services stop printing, before the commands are shown.
LULL = 1.0

WALK = """
The wallet service is up. Ctrl-C ends it.

  API             {api}
{pages}
  Bank simulator  {bank}/payments lists what it really paid

A walk to copy into another terminal:

  API={api}
{key}  WALLET=$(curl -s{auth} -X POST $API/wallets/ | sed 's/.*"uuid": *"\\([^"]*\\)".*/\\1/')
  curl -s{auth} -X POST $API/wallets/$WALLET/deposit \\
    -H 'Content-Type: application/json' -d '{{"amount": 10000}}'; echo
  curl -s{auth} -X POST $API/wallets/$WALLET/withdraw -H 'Content-Type: application/json' \\
    -d "{{\\"amount\\": 4000, \\"scheduled_for\\": \\"$(date -u -d '+5 seconds' +%Y-%m-%dT%H:%M:%SZ)\\"}}"; echo
  sleep 7
  curl -s{auth} $API/wallets/$WALLET/transactions/; echo
  curl -s {bank}/payments; echo
{webhooks}"""
# With API_AUTH=keys.
KEY = """\
  KEY=$(scripts/manage api_key create walk-$(date +%s) --scopes '*' --by "$(id -un)")
  sleep 5  # until each process knows it
"""
AUTH = ' -H "Authorization: Bearer $KEY"'
WEBHOOKS = """
To see webhooks arrive, run this in a third terminal, and the walk again:

  scripts/manage listen
"""


def claim_folder() -> IO[str]:
    """Refuse a second `make run` on the same data.

    :raises Trouble: one is running.
    """
    VAR.mkdir(parents=True, exist_ok=True)
    lock = (VAR / "run.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        pid = lock.read().strip() or "unknown"
        raise Trouble(
            f"make run is already running in this folder (process {pid}): end it first"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def migrate(env: dict[str, str]) -> None:
    """Migrate the database.

    :raises Trouble: it cannot be reached or migrated.
    """
    log = VAR / "migrate.log"
    if run_logged([str(PYTHON), "manage.py", "migrate", "--noinput"], log, env):
        raise Trouble(
            f"the database could not be migrated: {last_line(log)} - check DATABASE_URL "
            f"or DB_*; whole log: {log}"
        )


def demo_data() -> None:
    """Use separate data for the demo; create them again if their day was not finished.

    A database that the user names is used as it is.
    """
    if any(os.environ.get(name) for name in ("DATABASE_URL", "DB_ENGINE", "DB_NAME")):
        return
    if not (DEMO / "filled").exists():
        shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir(parents=True, exist_ok=True)
    os.environ["DB_NAME"] = str(DEMO / "db.sqlite3")
    os.environ.setdefault("BANK_DATA", str(DEMO / "bank.sqlite3"))


def fill(supervisor: Supervisor, env: dict[str, str], bank_port: int) -> None:
    """Create the demo's day unless it exists, and tell the simulator.

    :raises Trouble: it cannot be done here.
    """
    supervisor.run_until(lambda: services.answers(bank_port), SECONDS_TO_START)
    child = subprocess.Popen(
        [str(PYTHON), "manage.py", "demo", "--once"],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        preexec_fn=dies_with_parent(),
    )
    supervisor.run_until(lambda: child.poll() is not None, SECONDS_TO_FILL)
    if child.poll() is None:
        child.kill()
    if child.wait() and not supervisor.stop_signal:
        raise Trouble("the demo's day was not made: its last line above tells why")
    if not child.returncode and DEMO.exists():
        (DEMO / "filled").touch()


def demo_login(env: dict[str, str]) -> str:
    """Create the demo operator if the service allows one; return how to log in."""
    command = [str(PYTHON), "manage.py", "demo_login", "--folder", str(VAR)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=dies_with_parent(),
    )
    if done.returncode:  # another host, other users, or no console: it says which
        return "log in as one of your own staff"
    name, password = done.stdout.split()
    return f"log in as {name}, password {password}"


def pages(plan: services.Plan, api: str, login: str) -> str:
    """Return the lines about the served pages."""
    shown = [
        ("API_DOCS_ENABLED", f"  Documentation   {api}/api/docs/"),
        ("CONSOLE_ENABLED", f"  Console         {api}/console/ - {login}"),
        ("METRICS_ENABLED", f"  Metrics         {api}/metrics{_key_of_metrics(plan)}"),
    ]
    return "\n".join(line for switch, line in shown if plan.has(switch))


def _key_of_metrics(plan: services.Plan) -> str:
    """Return what the metrics ask for; the token alone opens them, if there is one."""
    if plan.env.get("METRICS_TOKEN"):
        return " - with METRICS_TOKEN"
    asks = plan.env.get("API_AUTH") == "keys"
    return " - with a key of the scope metrics:read" if asks else ""


def api_answers(port: int) -> bool:
    """Whether the API answers; a refusal is an answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/healthz", headers={"Host": "localhost"}
    )
    try:
        urllib.request.urlopen(request, timeout=1).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def make_was_interrupted() -> bool:
    """Whether only `make` got a SIGINT or SIGHUP, not the terminal's group.

    make passes on only SIGTERM. It then waits for this process inside its signal
    handler, with the signal blocked, which is visible.
    """
    try:
        status = Path(f"/proc/{os.getppid()}/status").read_text()
    except OSError:  # no such file system here
        return False
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    blocked = int(fields.get("SigBlk", "0"), 16)
    wanted = (1 << (signal.SIGINT - 1)) | (1 << (signal.SIGHUP - 1))
    return fields.get("Name") == "make" and bool(blocked & wanted)


def start(
    supervisor: Supervisor, plan: services.Plan, ports: services.Ports, demo: bool
) -> None:
    """Start all services; wait until the API answers and its first lines are printed.

    :raises Trouble: it takes too long.
    """
    if plan.warning:
        supervisor.say(f"WARNING: {plan.warning}")
    for service in plan.first:
        supervisor.start(service)
    if demo:
        fill(supervisor, plan.env, ports.bank)
    if plan.broker_port:
        port = plan.broker_port
        supervisor.run_until(lambda: services.answers(port), SECONDS_TO_START)
    for service in plan.then:
        supervisor.start(service)
    if not supervisor.run_until(lambda: api_answers(ports.api), SECONDS_TO_START):
        if supervisor.stop_signal:
            return
        raise Trouble(f"the API did not answer within {SECONDS_TO_START:.0f} s")
    supervisor.run_until(
        lambda: time.monotonic() - supervisor.last_output_at > LULL, seconds=8
    )


def show_walk(plan: services.Plan, ports: services.Ports, login: str) -> None:
    """Print the addresses, and commands to try."""
    api = f"http://127.0.0.1:{ports.api}"
    bank = plan.env["THIRD_PARTY_BASE_URL"].rstrip("/")
    webhooks = WEBHOOKS if plan.has("EVENTS_ENABLED") else ""
    asks = plan.env.get("API_AUTH") == "keys"
    text = WALK.format(
        api=api,
        bank=bank,
        pages=pages(plan, api, login),
        webhooks=webhooks,
        key=KEY * asks,
        auth=AUTH * asks,
    )
    print(text, flush=True)


def script() -> int:
    demo = sys.argv[1:] == ["--demo"]
    ports = services.Ports.from_env(os.environ)
    lock = claim_folder()
    if demo:
        demo_data()
    plan = services.plan(os.environ, ports)
    drivers = environment.drivers(environment.database_engine())
    environment.install("run", "local", *drivers)
    migrate(plan.env)
    login = demo_login(plan.env)
    # Static files are served from their sources; an empty folder avoids a warning.
    (ROOT / "staticfiles").mkdir(exist_ok=True)
    services.add_broker(plan)
    settings_of_run.write(plan.env)
    supervisor = Supervisor(color=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    try:
        start(supervisor, plan, ports, demo)
        if not supervisor.stop_signal:
            show_walk(plan, ports, login)
        supervisor.run(make_was_interrupted)
        supervisor.say("ending: work in hand is finished first")
    finally:
        supervisor.stop(SECONDS_TO_STOP)
        settings_of_run.forget()
        lock.close()
    supervisor.say("everything has ended")
    return 0


if __name__ == "__main__":
    main(script)
