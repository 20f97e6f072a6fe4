"""Two persons for "not paid", which gives money back: one proposes, another confirms.

Note [Two persons]: two logins are compared by the user's id, because a name can be
changed. A command has only a name, which nobody checks; it is compared with a login's
name, so that one person does not count as two by writing the name differently.
"""

from __future__ import annotations

from datetime import datetime

from wallets.errors import InvalidInput
from wallets.models.attempt import Attempt
from wallets.models.review_proposal import ReviewProposal

_LOGIN = "operator"


def of(transaction_id: int) -> ReviewProposal | None:
    """Return the proposal about this withdrawal, open or not; None if there is none."""
    return ReviewProposal.objects.filter(transaction_id=transaction_id).first()


def confirmed(
    attempt: Attempt, evidence: str, *, actor: str, user_id: int | None, now: datetime
) -> str | None:
    """Confirm another person's proposal, or make the first one.

    Call inside a transaction, with the withdrawal locked: of two concurrent proposals
    the second sees the first. Returns the evidence of both; None if this is the first
    proposal.

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
    """Whether the actor made this proposal. See Note [Two persons]. Pure."""
    if proposal.user_id is not None and user_id is not None:
        return proposal.user_id == user_id
    return _name(proposal.proposed_by) == _name(actor)


def _name(actor: str) -> str:
    """Return the name alone: "operator Oscar" is the login of the name "oscar"."""
    words = actor.casefold().split()
    while len(words) > 1 and words[0] == _LOGIN:
        words = words[1:]
    return " ".join(words)
