"""What a recorded payment says about the bank's reference of it.

The bank may have paid an attempt that ended as not paid here. Its money was released, so
an operator records the payment as a new attempt, to which nothing was sent. Its answer
names the reference under which the bank has the payment. It is empty if nobody knew that,
and in the records of an earlier release: then each reference of the withdrawal whose
attempt is not paid here may be the one.
"""

from __future__ import annotations

import uuid

from django.db.models import Exists, OuterRef

from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction

_ACCEPTED = Attempt.Outcome.ACCEPTED


def paid_under(reference: uuid.UUID) -> str:
    """Return the answer of a recorded attempt that the bank has under this reference."""
    return f"paid under reference {reference}"


def find(withdrawal: Transaction, reference: uuid.UUID) -> Attempt | None:
    """Return the recorded attempt which is the bank's payment under this reference.

    The reference is one of the withdrawal's. Of another attempt than the recorded one
    it is only if that attempt ended as not paid.
    """
    if withdrawal.status != Transaction.Status.COMPLETED:
        return None
    answers = ("", paid_under(reference))
    made = withdrawal.attempts.filter(outcome=_ACCEPTED, sends=0, answer__in=answers)
    return made.first()


def without_reference() -> Exists:
    """Whether nobody said under which reference the bank has a recorded transition."""
    made = Attempt.objects.filter(transaction=OuterRef("transaction"))
    return Exists(made.filter(outcome=_ACCEPTED, sends=0, answer=""))
