"""Which bank an attempt was sent to, and what was declared of it then. Pure functions.

An operator may change the bank's address or declare an ability while attempts are open.
The present settings then prove too much: a bank that never got a request says "not
found" truthfully, and a bank that dedupes since today may have forgotten yesterday. So
an attempt stores the bank and its memories, and an ability counts only as far as it was
declared both then and now.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from wallets.models.attempt import Attempt
from wallets.utils.bank.interface import Abilities


def mark(abilities: Abilities) -> str:
    """Return what an attempt stores: the bank, its dedupe and its look-up window.

    Both windows are in seconds; 0: the bank does not have the ability.
    """
    address = hashlib.sha256(abilities.address.encode()).hexdigest()[:16]
    dedupes = abilities.dedupe_window if abilities.dedupes else 0
    looks_up = abilities.lookup_window if abilities.looks_up else 0
    return f"{address} {dedupes:g} {looks_up:g}"


def is_same_bank(attempt: Attempt, present: Abilities) -> bool:
    """Whether the attempt was sent to the bank that is configured now, or is unknown."""
    return attempt.sent_to.split()[:1] in ([], mark(present).split()[:1])


def abilities_for(attempt: Attempt, present: Abilities) -> Abilities:
    """Return the abilities that count for this attempt.

    "Paid" is believed of any look-up, because the answer names our reference; "refused"
    only of the bank that got the request. "Not found" is believed as long as the look-up
    window of both banks lasts; without it the attempt goes to review.
    """
    if attempt.sent_to in ("", mark(present)):
        return present
    _, dedupe_window, lookup_window = attempt.sent_to.split()
    if not is_same_bank(attempt, present):
        dedupe_window = lookup_window = "0"
    return replace(
        present,
        dedupes=present.dedupes and float(dedupe_window) > 0,
        dedupe_window=min(present.dedupe_window, float(dedupe_window)),
        lookup_window=min(present.lookup_window, float(lookup_window)),
    )
