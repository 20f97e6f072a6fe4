"""The problems about transfers, corrections and returns."""

from __future__ import annotations

from wallets.views.problems.problem import Problem

TRANSFER_PROBLEMS = (
    Problem(
        "same_wallet",
        400,
        "One wallet",
        "Money moves between two wallets: `from` and `to` must differ.",
    ),
    Problem(
        "transfer_not_found",
        404,
        "No such transfer",
        "No transfer has this UUID.",
    ),
    Problem(
        "not_correctable",
        409,
        "Not correctable",
        "Only deposits, transfers and returns can be corrected.",
    ),
    Problem(
        "correction_too_large",
        422,
        "More than is left to correct",
        "The corrections of a deposit, a transfer or a return are together at most its "
        "amount.",
    ),
    Problem(
        "not_returnable",
        409,
        "Not returnable",
        "Only a withdrawal that the bank has paid can be returned.",
    ),
    Problem(
        "already_returned",
        409,
        "Returned already",
        "A withdrawal is returned once, and another return of it is recorded.",
    ),
    Problem(
        "return_too_large",
        422,
        "More than was paid",
        "A bank returns at most what it has paid for the withdrawal.",
    ),
    Problem(
        "currency_mismatch",
        422,
        "The currencies differ",
        "Money moves between wallets of the same currency only.",
    ),
)
