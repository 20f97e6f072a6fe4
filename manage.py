#!/usr/bin/env python
"""Django's command-line door to the wallet service."""

import os
import sys

# These serve, as the API and the workers do. Any other command may take as long as it
# needs for a statement: it migrates, verifies, compares.
SERVING = ("runserver", "run_sweeps", "test")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")
    if sys.argv[1:2] and sys.argv[1] not in SERVING:
        os.environ.setdefault("DATABASE_STATEMENT_TIMEOUT", "0")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit(
            "Django is not installed here: activate the virtual environment, "
            "or run: pip install -r requirements.txt"
        )
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A driver or a setting is missing: a stack helps nobody, the cause does.
        cause: BaseException = error
        while isinstance(cause.__cause__, (ImportError, ImproperlyConfigured)):
            cause = cause.__cause__
        sys.exit(" ".join(str(cause).split()))


if __name__ == "__main__":
    main()
