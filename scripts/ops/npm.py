"""Pinned tools from npm: they lint the OpenAPI document and generate clients.

Node is no part of the product; without it these tools are left out.
"""

from __future__ import annotations

import hashlib
import os
import shutil

from ops import ROOT, VAR, Trouble, environment
from ops.steps import last_line, run_logged

FOLDER = ROOT / "scripts" / "openapi"
# No telemetry, and no search for newer versions.
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
_LOG = VAR / "npm.log"
_STAMP = FOLDER / "node_modules" / ".installed"


def required() -> bool:
    """Whether missing tools are an error."""
    return os.environ.get("WALLET_REQUIRE_SERVERS") == "1"


def install() -> None:
    """Make sure that `node_modules` has what the lock file pins.

    :raises Trouble: without npm, or if a package cannot be installed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise Trouble("npm is not installed (Debian: apt install npm)")
    with environment.one_at_a_time():
        _install(npm)


def _install(npm: str) -> None:
    lock = (FOLDER / "package-lock.json").read_bytes()
    wanted = hashlib.sha256(lock).hexdigest()
    if _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    print("installing scripts/openapi/package-lock.json", flush=True)
    ci = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    if run_logged([*ci, "--prefix", str(FOLDER)], _LOG):
        raise Trouble(
            f"the tools from npm could not be installed: {last_line(_LOG)} - check the "
            f"network and npm's settings; whole log: {_LOG}"
        )
    _STAMP.write_text(wanted)


def tool(name: str) -> str:
    """The path of an installed tool."""
    return str(FOLDER / "node_modules" / ".bin" / name)
