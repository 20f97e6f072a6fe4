"""Arguments that several commands share, and their output."""

from argparse import ArgumentParser, ArgumentTypeError
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from wallets.utils import instants
from wallets.utils.caller import TENANT, TENANTS
from wallets.utils.limits import MAX_BIGINT


def row_id(text: str) -> int:
    """Return the id of a row that fits into a column.

    :raises ArgumentTypeError: argparse prints it as one line.
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text[:30]) <= MAX_BIGINT):
        raise ArgumentTypeError(f"{text[:30]!r} is no id")
    return int(text)


def row_uuid(text: str) -> UUID:
    """Return a UUID: of a wallet, a key or a reference.

    :raises ArgumentTypeError: argparse prints it as one line.
    """
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text[:40]!r} is no UUID") from None


def tenant(text: str) -> str:
    """Return the name of a tenant, as a key can have it.

    :raises ArgumentTypeError: argparse prints it as one line.
    """
    if not TENANT.fullmatch(text):
        raise ArgumentTypeError(f"{text[:70]!r} is no name of a tenant: {TENANTS}")
    return text


def amount(text: str) -> int:
    """Return an amount in minor units; the service checks its limits.

    :raises ArgumentTypeError: argparse prints it as one line.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise ArgumentTypeError(f"{text[:30]!r} is no amount of minor units")
    return int(text)


def instant(text: str) -> datetime:
    """Return an instant, written with its offset.

    :raises ArgumentTypeError: argparse prints it as one line.
    """
    try:
        return instants.parse(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{text[:40]!r} is no time such as 2026-02-17T12:00:00Z"
        ) from None


def moment(text: str) -> datetime:
    """Return an instant with its offset; a date alone is its midnight in UTC.

    :raises ArgumentTypeError: anything else.
    """
    try:
        return instants.parse(text if len(text) > 10 else f"{text}T00:00:00Z")
    except ValueError:
        raise ArgumentTypeError(
            f"{text[:40]!r} is neither a date such as 2030-01-31 nor a time such as "
            "2026-02-17T12:00:00Z"
        ) from None


def seconds(text: str) -> float:
    """Return a number of seconds, 0 or more; "inf" is for ever.

    :raises ArgumentTypeError: argparse prints it as one line.
    """
    with suppress(ValueError):
        if (found := float(text)) >= 0:
            return found
    raise ArgumentTypeError(f"{text[:30]!r} is no number of seconds")


def add_payment(parser: ArgumentParser) -> None:
    """Add the arguments about a payment of the bank."""
    parser.add_argument(
        "--reference", type=row_uuid, help="the reference on the bank's list"
    )
    parser.add_argument(
        "--paid-at",
        type=instant,
        help="when the bank paid, such as 2026-02-17T12:00:00Z; now unless given",
    )
    parser.add_argument("--evidence", required=True, help="how you know")
    add_actor(parser)


def add_actor(parser: ArgumentParser) -> None:
    """Add the operator's name; the service checks it."""
    parser.add_argument("--by", "--actor", dest="by", required=True, help="who you are")


def one_line(text: str, length: int = 200) -> str:
    """Return a text as one line that is safe for a terminal."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else "?" for c in words)[:length]
