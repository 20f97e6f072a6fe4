"""Guards of what operators are told, and of what they set; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_HEALTH = "wallets/services/operations/payout_health.py"
_DEPLOYMENT = "wallets/deployment.py"
_DURABILITY = "wallets/utils/database/durability.py"
_ENVIRONMENT = "test_environment.py"
_VERDICT = "console/tests/test_payouts.py::VerdictTest"

TOLD_GUARDS = (
    Guard(
        "late payouts are told",
        _HEALTH,
        "        return self.oldest_due_seconds > self.late_after\n",
        "        return False\n",
        f"{_VERDICT} test_api_health.py::ReadyTest",
    ),
    Guard(
        "late retries are told",
        _HEALTH,
        "        return self.oldest_retry_due_seconds > self.retry_late_after\n",
        "        return False\n",
        f"{_VERDICT} test_api_health.py::ReadyTest",
    ),
    Guard(
        "the metrics know the age of a retry",
        _HEALTH,
        'oldest_retry_due_seconds=_oldest(retries, "next_attempt_at", now),',
        "oldest_retry_due_seconds=0.0,",
        "test_metrics.py::ScrapeTest",
    ),
    Guard(
        "a bank that loses answers is told",
        _HEALTH,
        "        return self.lost >= least and self.lost_share >= LOST_SHARE\n",
        "        return False\n",
        f"{_VERDICT} test_api_health.py::ReadyTest",
    ),
    Guard(
        "a bank that answers nobody is told in a quiet hour, too",
        _HEALTH,
        "        least = LEAST_LOST if self.answers else ALL_LOST\n",
        "        least = LEAST_LOST\n",
        f"{_VERDICT} test_api_health.py::ReadyTest",
    ),
    Guard(
        "open metrics are told before a deployment",
        _DEPLOYMENT,
        "    if not settings.METRICS_ENABLED or settings.METRICS_TOKEN:\n",
        "    if True:\n",
        "test_deployment.py",
    ),
    Guard(
        "SQLite is told before a deployment",
        _DEPLOYMENT,
        '    if not settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):\n',
        "    if True:\n",
        "test_deployment.py",
    ),
    Guard(
        "a broker that is not named is told before a deployment",
        _DEPLOYMENT,
        '    if os.environ.get("CELERY_BROKER_URL"):\n',
        "    if True:\n",
        "test_deployment.py",
    ),
    Guard(
        "abilities that are not declared are told before a deployment",
        _DEPLOYMENT,
        "    if not missing:\n",
        "    if True:\n",
        "test_deployment.py",
    ),
    Guard(
        "check --deploy asks what a deployment forgets",
        _DEPLOYMENT,
        "@register(deploy=True)\ndef database_is_a_server",
        "def database_is_a_server",
        "test_deployment.py",
    ),
    Guard(
        "a server that may lose commits is told before a deployment",
        _DURABILITY,
        "        if name in found and found[name].lower() not in durable\n",
        "        if name in found and False\n",
        "test_deployment.py::DurabilityTest test_deployment.py::RealServerTest",
    ),
    Guard(
        "check --deploy asks whether the server keeps commits",
        _DEPLOYMENT,
        "@register(Tags.database, deploy=True)\ndef server_keeps_commits(",
        "def server_keeps_commits(",
        "test_deployment.py::RealServerTest",
    ),
    Guard(
        "a binary log that is not flushed is told before a deployment",
        _DURABILITY,
        '    "sync_binlog": ("1",),\n',
        "",
        "test_deployment.py::DurabilityTest",
    ),
    Guard(
        "compose declares nothing of another bank",
        "docker-compose.yaml",
        "${THIRD_PARTY_DEDUPES:-${THIRD_PARTY_BASE_URL:+not }true}",
        "${THIRD_PARTY_DEDUPES:-true}",
        "scripts/test_repository.py::ComposeTest",
    ),
    Guard(
        "compose hands on the address of the bank",
        "docker-compose.yaml",
        "${THIRD_PARTY_BASE_URL:-http://third-party:8010}",
        "http://third-party:8010",
        "scripts/test_repository.py::ComposeTest",
    ),
    Guard(
        "a misspelt switch is not taken for off",
        "wallet/environment.py",
        "    if word not in TRUE | FALSE:\n",
        "    if False:\n",
        f"{_ENVIRONMENT}::SwitchTest",
    ),
    Guard(
        "a value with a dollar sign is not another variable's name",
        "wallet/environment.py",
        "        text = os.environ.get(var)\n",
        "        text = os.environ.get(var)\n"
        '        if text and text[0] == "$":\n'
        "            text = os.environ.get(text[1:])\n",
        f"{_ENVIRONMENT}::DollarTest",
    ),
    Guard(
        "the server counts where the settings say so",
        "wallet/serve.py",
        '    if not Env().bool("METRICS_ENABLED", default=False):\n',
        '    if os.environ.get("METRICS_ENABLED") != "true":\n',
        f"{_ENVIRONMENT}::MetricsTest",
    ),
    Guard(
        "gunicorn counts where the settings say so",
        "gunicorn.conf.py",
        '    _counts = Env().bool("METRICS_ENABLED", default=False)\n',
        '    _counts = os.environ.get("METRICS_ENABLED") == "true"\n',
        f"{_ENVIRONMENT}::MetricsTest",
    ),
)
