"""Limits and patterns that several layers share. The limit on money is in models/base.py."""

# The largest number of a BIGINT column, which ids and movement numbers are stored in.
MAX_BIGINT = 2**63 - 1

# A UUID in its canonical form. A reader that also takes upper case says so with `re.I`.
UUID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
