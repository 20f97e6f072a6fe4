"""Two persons for what gives money back: one proposes it, another one confirms it.

Note [Two persons]: of two logins the user's ids are compared, for a name can be changed.
A command has a name only, which nobody checks; it is compared with a login's name, so that
one person does not count as two for writing the name another way.
"""

from __future__ import annotations

from datetime import datetime

from wallets.errors import InvalidInput
from wallets.models.attempt import Attempt
from wallets.models.review_proposal import ReviewProposal

_LOGIN = "operator"


def of(transaction_id: int) -> ReviewProposal | None:
    """Return what was proposed about this withdrawal, whether it is still open or not."""
    return ReviewProposal.objects.filter(transaction_id=transaction_id).first()


def confirmed(
    attempt: Attempt, evidence: str, *, actor: str, user_id: int | None, now: datetime
) -> str | None:
    """Confirm what another person has proposed, or be the first to propose it.

    Call inside a transaction, with the withdrawal locked: of two at once the second one
    sees what the first one wrote. Returns the evidence of both; None if it was proposed.

    :raises InvalidInput: the same person has proposed it already.
    """
    earlier = of(attempt.transaction_id)
    if earlier is None:
        ReviewProposal.objects.create(
            transaction_id=attempt.transaction_id,
            attempt_number=attempt.number,
            proposed_by=actor,
            user_id=user_id,
            evidence=evidence,
            created_at=now,
        )
        return None
    if is_same_person(earlier, actor=actor, user_id=user_id):
        raise InvalidInput(
            "You have proposed it yourself: another person must confirm it.",
            field="actor",
        )
    return f"{evidence}\nProposed by {earlier.proposed_by}: {earlier.evidence}"


def is_same_person(
    proposal: ReviewProposal, *, actor: str, user_id: int | None
) -> bool:
    """Whether who acts has made this proposal. See Note [Two persons]. Pure."""
    if proposal.user_id is not None and user_id is not None:
        return proposal.user_id == user_id
    return _name(proposal.proposed_by) == _name(actor)


def _name(actor: str) -> str:
    """The name alone: "operator Oscar" is the login of who calls himself "oscar"."""
    words = actor.casefold().split()
    while len(words) > 1 and words[0] == _LOGIN:
        words = words[1:]
    return " ".join(words)
