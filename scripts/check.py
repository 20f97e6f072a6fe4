"""`make check`: all checks of the code, except the tests."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass, field

from ops import ROOT, Trouble, environment, npm
from ops.steps import dies_with_parent, main

# As in production; nothing connects to these addresses.
PRODUCTION = {
    "API_AUTH": "keys",
    "DEBUG": "false",
    "ALLOWED_HOSTS": "wallet.example.com",
    "DATABASE_URL": "postgres://wallet:secret@127.0.0.1:5432/wallet",
    "CELERY_BROKER_URL": "redis://127.0.0.1:6379/0",
    "THIRD_PARTY_BASE_URL": "https://bank.example.com",
    "THIRD_PARTY_DEDUPES": "true",
    "THIRD_PARTY_LOOKUP": "true",
    "THIRD_PARTY_STATEMENT": "false",
    "SECURE_COOKIES": "true",
    "SECURE_SSL_REDIRECT": "true",
    "SECURE_HSTS_SECONDS": "31536000",
}
# No name or syntax that Python 3.10 lacks, although the tests run on one Python only.
# (`str.decode`: taken for Python 2's.)
OLDEST = ["--target=3.10-", "--violations", "--no-tips", "--exclude", "str.decode"]
OPENAPI = ["spectacular", "--validate", "--fail-on-warn", "--file", os.devnull]
CODE = [
    "wallet",
    "wallets",
    "console",
    "events",
    "access",
    "scripts",
    "drills",
    "benchmarks",
    "third-party",
]


@dataclass(frozen=True)
class Check:
    """One tool with its variables."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)


def checks() -> list[Check]:
    """Return every check, the fast ones first."""
    python, tools = str(environment.PYTHON), environment.VENV / "bin"
    manage = [python, "manage.py"]
    production = PRODUCTION | {"SECRET_KEY": secrets.token_urlsafe(64)}
    compose = "--builtin-schema=vendor.compose-spec"
    return [
        Check("Black", [python, "-m", "black", "--check", "."]),
        Check("ruff", [python, "-m", "ruff", "check", "."]),
        Check(
            "compose schema",
            [python, "-m", "check_jsonschema", compose, "docker-compose.yaml"],
        ),
        Check("layers", [python, str(tools / "lint-imports"), "--no-cache"]),
        Check(
            "missing migrations",
            [*manage, "makemigrations", "--check", "--dry-run"],
            {"API_AUTH": "keys"},
        ),
        Check(
            "deployment settings",
            [*manage, "check", "--deploy", "--fail-level", "WARNING"],
            production,
        ),
        Check("OpenAPI", [*manage, *OPENAPI]),
        Check("OpenAPI, keys", [*manage, *OPENAPI], {"API_AUTH": "keys"}),
        Check("Python 3.10", [str(tools / "vermin"), *OLDEST, *CODE]),
        # With all applications installed, because types of models come from them.
        Check("types", [python, "-m", "mypy"], {"API_AUTH": "keys"}),
        Check("API, fuzzed", [python, "scripts/fuzz.py"]),
    ]


def linters() -> list[Check]:
    """Return the checks by tools from npm.

    :raises Trouble: the tools are not available.
    """
    npm.install()
    document, folder = "docs/openapi.yaml", npm.FOLDER
    spectral = ["lint", "--fail-severity=hint", f"--ruleset={folder}/spectral.yaml"]
    redocly = ["lint", f"--config={folder}/redocly.yaml"]
    return [
        Check("OpenAPI, Spectral", [npm.tool("spectral"), *spectral, document]),
        Check("OpenAPI, Redocly", [npm.tool("redocly"), *redocly, document], npm.QUIET),
    ]


def passes(check: Check) -> bool:
    """Run one check; show its output only if it fails."""
    began = time.monotonic()
    done = subprocess.run(
        check.command,
        cwd=ROOT,
        env=os.environ | check.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=dies_with_parent(),
    )
    verdict = "ok" if done.returncode == 0 else "FAILED"
    print(f"  {check.name:<20} {verdict:<7} {time.monotonic() - began:4.1f} s")
    if done.returncode:
        print(done.stdout, flush=True)
    sys.stdout.flush()
    return done.returncode == 0


def script() -> int:
    environment.install("run", "local", "test", "dev")
    try:
        found = [*checks(), *linters()]
    except Trouble as trouble:
        if npm.required():
            raise
        print(f"  Without Spectral and Redocly: {trouble}")
        found = checks()
    outcomes = [passes(check) for check in found]
    bad = outcomes.count(False)
    print(f"{bad} of {len(outcomes)} checks failed" if bad else "All checks are clean.")
    return int(bad > 0)


if __name__ == "__main__":
    main(script)
