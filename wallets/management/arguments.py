"""Arguments that several commands take."""

from argparse import ArgumentTypeError

MAX_ID = 2**63 - 1


def row_id(text: str) -> int:
    """Return the id of a row, as a column can hold it.

    :raises ArgumentTypeError: which argparse turns into one clear line.
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text[:30]) <= MAX_ID):
        raise ArgumentTypeError(f"{text[:30]!r} is no id")
    return int(text)
