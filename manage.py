#!/usr/bin/env python
"""Django's command line for the wallet service."""

import os
import sys

# These commands serve, or run sweeps or passes, like the API and the workers. Other
# commands have no limit on statements, whatever the environment says: they migrate,
# verify, compare. A container has one environment for all of them.
SERVING = ("runserver", "run_events", "run_sweeps", "run_webhooks", "test")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")
    if sys.argv[1:2] and sys.argv[1] not in SERVING:
        os.environ["DATABASE_STATEMENT_TIMEOUT"] = "0"
    try:
        from django.core.management import execute_from_command_line

        from wallet.commands import refuse_if_off
        from wallet.environment import refused_in_one_line
    except ImportError:
        sys.exit(
            "Django is not installed here: activate the virtual environment, "
            "or run: pip install -r requirements.txt"
        )
    with refused_in_one_line():
        refuse_if_off(sys.argv)
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
