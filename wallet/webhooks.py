"""Settings of webhooks; all times in seconds."""

import ipaddress

from wallet import environment

_env = environment.Env()


def _waits(text: str) -> list[float]:
    return [environment.number(part) for part in text.split(",")]


def _networks(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return [str(ipaddress.ip_network(part)) for part in parts]


def _ports(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if part != "any" and not 0 < int(part) < 65536:
            raise ValueError
    return parts


environment.EXPECTED.update(
    {
        _waits: "numbers with commas between them, each 0 or more",
        _networks: "networks with commas between them, such as 10.1.0.0/16",
        _ports: "ports with commas between them, or any",
    }
)

# Where webhooks may be sent besides public addresses, by https, on port 443.
WEBHOOK_ALLOW_HTTP = _env.bool("WEBHOOK_ALLOW_HTTP", default=False)
WEBHOOK_ALLOWED_NETWORKS = _env("WEBHOOK_ALLOWED_NETWORKS", _networks, [])
WEBHOOK_ALLOWED_PORTS = _env("WEBHOOK_ALLOWED_PORTS", _ports, [])
# The most webhooks: of one tenant (those of unlimited callers count as one tenant's), and
# of all tenants together.
WEBHOOK_MAX_ENDPOINTS = _env.int("WEBHOOK_MAX_ENDPOINTS", default=100)
WEBHOOK_MAX_TOTAL = _env.int("WEBHOOK_MAX_TOTAL", default=1000)

# The longest exchange < the lease of a delivery, after which another process sends it.
WEBHOOK_CONNECT_TIMEOUT = _env.float("WEBHOOK_CONNECT_TIMEOUT", default=3)
WEBHOOK_DEADLINE = _env.float("WEBHOOK_DEADLINE", default=15)
WEBHOOK_LEASE = _env.float("WEBHOOK_LEASE", default=60)
# The waits before the second attempt, the third, and so on. After the last one the
# endpoint is switched off.
WEBHOOK_RETRIES = _env(
    "WEBHOOK_RETRIES", _waits, [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
)
# How long the old secret signs beside the new one after a rotation.
WEBHOOK_SECRET_OVERLAP = _env.float("WEBHOOK_SECRET_OVERLAP", default=86400)

# The most deliveries under way: in one process, and at one endpoint.
WEBHOOK_CONCURRENCY = _env.int("WEBHOOK_CONCURRENCY", default=64)
WEBHOOK_ENDPOINT_CONCURRENCY = _env.int("WEBHOOK_ENDPOINT_CONCURRENCY", default=8)
# The most open deliveries of an endpoint that fails.
WEBHOOK_WINDOW = _env.int("WEBHOOK_WINDOW", default=1000)
# How often an idle process looks for new events.
WEBHOOK_POLL = _env.float("WEBHOOK_POLL", default=0.5)
# How long delivered events can be looked at.
WEBHOOK_KEEP_DAYS = _env.float("WEBHOOK_KEEP_DAYS", default=30)
