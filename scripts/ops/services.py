"""The services of `make run`: commands, variables, and the order of their end."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from ops import ROOT, Trouble, broker
from ops.child import Service
from ops.environment import PYTHON

LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "[::1]"}
# As the settings read them (wallet/environment.py), which refuse other spellings.
TRUE = {"true", "on", "ok", "y", "yes", "1"}

# Stopped first: services that accept work. Then: what that work still needs.
TAKES_WORK, IS_NEEDED = 0, 1


@dataclass(frozen=True)
class Ports:
    """The two ports that the user chooses."""

    api: int
    bank: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Ports:
        """Read PORT and BANK_PORT.

        :raises Trouble: if one is no port number, or both are the same.
        """
        ports = cls(_port(env, "PORT", 8000), _port(env, "BANK_PORT", 8010))
        if ports.api == ports.bank:
            raise Trouble(f"PORT and BANK_PORT are both {ports.api}: change one")
        return ports


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise Trouble(f"{name} is {text!r}: set it to a number from 1 to 65535")
    return int(text)


def require_free(port: int, cure: str) -> None:
    """Make sure that this loopback port is free.

    :raises Trouble: it is not; the solution is to set another port.
    """
    with socket.socket() as probe:
        # As servers do: a closing connection does not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise Trouble(f"port {port} is not ours to use ({cure})") from None
        except OSError:
            raise Trouble(f"port {port} is taken ({cure})") from None


def answers(port: int) -> bool:
    """Whether a process listens on this loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Plan:
    """Everything that will run, and what the user should know about it."""

    env: dict[str, str]
    first: list[Service]
    then: list[Service]
    broker_port: int = 0
    warning: str = ""

    def has(self, switch: str) -> bool:
        """Whether a page is served, which is the default, by this variable."""
        return is_on(self.env, switch)


def is_on(env: Mapping[str, str], switch: str) -> bool:
    """Whether this variable is true, which is the default."""
    return env.get(switch, "true").strip().lower() in TRUE


def plan(user_env: Mapping[str, str], ports: Ports) -> Plan:
    """Decide what to start; the user's variables are never overridden.

    :raises Trouble: a needed port is taken.
    """
    env = dict(user_env) | {"PYTHONUNBUFFERED": "1", "BANK_PORT": str(ports.bank)}
    this = Plan(env, [], [])
    require_free(ports.api, "set PORT=…")
    own_bank = bool(env.get("THIRD_PARTY_BASE_URL"))
    if not (own_bank and answers(ports.bank)):  # else that is the user's own bank
        require_free(ports.bank, "set BANK_PORT=…")
        command, folder = [str(PYTHON), "app.py"], ROOT / "third-party"
        this.first.append(Service("bank", command, env, IS_NEEDED, folder))
    # Lines for people at a terminal.
    env.setdefault("LOG_FORMAT", "console")
    env.setdefault("METRICS_ENABLED", str(serves_loopback_only(env)).lower())
    name_the_bank(env, ports.bank)
    allow_receivers_here(env)
    if not env.get("CELERY_BROKER_URL"):
        this.broker_port = free_port()
        env["CELERY_BROKER_URL"] = f"redis://127.0.0.1:{this.broker_port}/0"
        if not env.get("CELERY_RESULT_BACKEND"):
            env["CELERY_RESULT_BACKEND"] = env["CELERY_BROKER_URL"]
    this.then = _wallet_services(env, ports.api)
    return this


def name_the_bank(env: dict[str, str], port: int) -> None:
    """Set the simulator's address and abilities, unless the user has another bank."""
    if not env.get("THIRD_PARTY_BASE_URL"):
        env["THIRD_PARTY_BASE_URL"] = f"http://127.0.0.1:{port}"
        env.setdefault("THIRD_PARTY_DEDUPES", "true")
        env.setdefault("THIRD_PARTY_LOOKUP", "true")
        env.setdefault("THIRD_PARTY_STATEMENT", "true")


def allow_receivers_here(env: dict[str, str]) -> None:
    """Let webhooks be sent to this machine, while the API serves only this machine."""
    if serves_loopback_only(env):
        env.setdefault("WEBHOOK_ALLOW_HTTP", "true")
        env.setdefault("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8")
        env.setdefault("WEBHOOK_ALLOWED_PORTS", "any")


def serves_loopback_only(env: Mapping[str, str]) -> bool:
    """Whether the API answers only to names of this machine."""
    hosts = {host.strip() for host in env.get("ALLOWED_HOSTS", "").split(",")}
    return not hosts - LOOPBACK_HOSTS - {""}


def add_broker(this: Plan) -> None:
    """Add the embedded broker if the plan has a port for one. Needs the environment."""
    if this.broker_port:
        command, this.warning = broker.command(this.broker_port)
        this.first.insert(0, Service("broker", command, this.env, IS_NEEDED))


def _wallet_services(env: dict[str, str], port: int) -> list[Service]:
    def service(name: str, command: str) -> Service:
        own = {"SERVICE_NAME": name} | env
        return Service(name, [str(PYTHON), "-m", *command.split()], own, TAKES_WORK)

    services = [
        service("api", f"wallet.serve --port {port}"),
        service("worker", "celery --quiet -A wallet worker --loglevel INFO"),
        service("beat", "celery --quiet -A wallet beat --loglevel INFO"),
    ]
    if is_on(env, "EVENTS_ENABLED"):
        services.append(
            service("events", "django run_events --settings wallet.settings")
        )
        services.append(
            service("webhooks", "django run_webhooks --settings wallet.settings")
        )
    return services
