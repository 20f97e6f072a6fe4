"""What keeps a due withdrawal from being claimed, beside its own row."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import CharField, IntegerField, Value

from wallets.errors import DamagedRows
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.operations import alarm

# The number of no transition.
_ALARM = -1


def said_paid(rows: Sequence[Transaction]) -> set[int]:
    """Return those of which an alarm says that the bank has paid them already.

    Call inside a transaction, with the withdrawals locked. One statement for both
    questions: claims are frequent.

    :raises DamagedRows: a withdrawal is not in the state to which its last transition
        led. Its row was changed without the service: a cancelled one would be paid.
    """
    pks = [row.pk for row in rows]
    alarms = alarm.said_paid(pks).values_list(
        "transaction_id",
        Value(_ALARM, IntegerField()),
        Value("", CharField()),
    )
    numbers = {row.version for row in rows}
    last = Transition.objects.filter(transaction__in=pks, sequence__in=numbers)
    found = alarms.order_by().union(
        last.order_by().values_list("transaction_id", "sequence", "to_state"), all=True
    )
    states = {(pk, number): state for pk, number, state in found}
    paid = {pk for pk, number in states if number == _ALARM}
    for row in rows:
        # Without a history it is new: somebody wrote it without the service.
        new = State.PENDING.value if row.version == 0 else None
        said = states.get((row.pk, row.version), new)
        if row.pk not in paid and said != row.state.value:
            raise DamagedRows(
                f"withdrawal {row.pk} is {row.state.value}, its last transition says {said}"
            )
    return paid
