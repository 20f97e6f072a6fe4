"""The tests of keys need the application: they run with API_AUTH=keys only."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).with_name("tests")
# It tries both settings in processes of its own.
ALWAYS = "test_switch.py"

collect_ignore = [
    str(file)
    for file in TESTS.glob("test_*.py")
    if os.environ.get("API_AUTH") != "keys" and file.name != ALWAYS
]
