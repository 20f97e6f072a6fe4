"""The problems about a wallet's name and life."""

from __future__ import annotations

from wallets.views.problems.problem import Problem

WALLET_PROBLEMS = (
    Problem(
        "reference_invalid",
        400,
        "Invalid reference",
        "A reference is a text of 1 to 255 printable characters, without spaces at its "
        "ends.",
    ),
    Problem(
        "currency_invalid",
        400,
        "Invalid currency",
        "A currency is a code of ISO 4217 that has a minor unit, in upper case, as text.",
    ),
    Problem(
        "metadata_invalid",
        400,
        "Invalid metadata",
        "Metadata is a JSON object of printable texts: at most 50 names of 1 to 64 "
        "characters, and 4,096 bytes as JSON.",
    ),
    Problem(
        "description_invalid",
        400,
        "Invalid description",
        "A description is a text of at most 255 printable characters.",
    ),
    Problem(
        "if_frozen_invalid",
        400,
        "Invalid choice for a frozen wallet",
        "The field `if_frozen` is `wait` or `fail`, as text.",
    ),
    Problem(
        "direction_invalid",
        400,
        "Invalid direction",
        "The direction is `in`, `out` or `both`, as text.",
    ),
    Problem(
        "reason_invalid",
        400,
        "Invalid reason",
        "A reason is a text of 1 to 500 printable characters.",
    ),
    Problem(
        "reference_taken",
        409,
        "The reference is taken",
        "Another wallet has this reference. `GET /wallets/?reference=` shows it.",
    ),
    Problem(
        "wallet_frozen",
        409,
        "The wallet is frozen",
        "The wallet is frozen in the direction in which the money would move. Nothing "
        "was done, and an Idempotency-Key can be used again.",
    ),
    Problem(
        "wallet_closed",
        409,
        "The wallet is closed",
        "The wallet is closed for good. It can be read, and nothing about it can change.",
    ),
    Problem(
        "wallet_not_empty",
        409,
        "The wallet cannot be closed",
        "Only a wallet with balance 0, without held money and without a withdrawal that "
        "has not ended can be closed.",
    ),
)
