"""Arguments that several commands take."""

from argparse import ArgumentTypeError
from datetime import datetime

from wallets.utils import instants

MAX_ID = 2**63 - 1


def row_id(text: str) -> int:
    """Return the id of a row, as a column can hold it.

    :raises ArgumentTypeError: which argparse turns into one clear line.
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text[:30]) <= MAX_ID):
        raise ArgumentTypeError(f"{text[:30]!r} is no id")
    return int(text)


def moment(text: str) -> datetime:
    """Return an instant with its offset; a date alone is its midnight in UTC.

    :raises ArgumentTypeError: for anything else.
    """
    try:
        return instants.parse(text if len(text) > 10 else f"{text}T00:00:00Z")
    except ValueError as error:
        raise ArgumentTypeError(f"{text[:40]!r} is {error}") from None
