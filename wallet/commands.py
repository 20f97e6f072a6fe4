"""Commands of removable applications that are switched off: said in one sentence.

Django knows only the commands of installed applications, and calls the others unknown.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

# What is said of the commands of an application that is not installed.
_OFF = {
    "access": "No keys are asked for: API_AUTH is none. Set API_AUTH=keys for the service "
    "and for this command.",
    "events": "There is no feed of events: EVENTS_ENABLED is false.",
    "console": "There is no console: CONSOLE_ENABLED is false.",
}


def refuse_if_off(arguments: Sequence[str]) -> None:
    """End the program if its command belongs to an application that is switched off."""
    words = [word for word in arguments[1:3] if word != "help"]
    name = words[0] if words else ""
    for application, told in _OFF.items():
        folder = Path(settings.BASE_DIR) / application / "management" / "commands"
        known = {path.stem for path in folder.glob("[!_]*.py")}
        if name in known and application not in settings.INSTALLED_APPS:
            sys.exit(told)
