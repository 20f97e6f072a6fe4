"""Which event is made from which row: the type, and the movement that belongs to it. Pure."""

from __future__ import annotations

from events.models.event import EventType
from wallets.models.ledger import LEGS_OF_EVENTS, Movement
from wallets.models.states import Event, State
from wallets.models.wallet_change import WalletChange

# Kinds of movements that are events of their own. The other kinds belong to a change of
# a withdrawal, which is the event.
OF_MOVEMENTS = {
    Movement.Kind.DEPOSIT.value: EventType.DEPOSIT_COMPLETED.value,
    Movement.Kind.TRANSFER_OUT.value: EventType.TRANSFER_COMPLETED.value,
    Movement.Kind.TRANSFER_IN.value: EventType.TRANSFER_RECEIVED.value,
    Movement.Kind.CORRECTION_OUT.value: EventType.CORRECTION_POSTED.value,
    Movement.Kind.CORRECTION_IN.value: EventType.CORRECTION_POSTED.value,
    Movement.Kind.RETURN.value: EventType.WITHDRAWAL_RETURNED.value,
}
OF_OTHERS = {
    Movement.Kind.HOLD.value,
    Movement.Kind.SETTLE.value,
    Movement.Kind.RELEASE.value,
}

# Changes of a wallet.
OF_WALLET_CHANGES = {
    WalletChange.Event.CHANGED.value: EventType.WALLET_CHANGED.value,
    WalletChange.Event.FROZEN.value: EventType.WALLET_FROZEN.value,
    WalletChange.Event.UNFROZEN.value: EventType.WALLET_UNFROZEN.value,
    WalletChange.Event.CLOSED.value: EventType.WALLET_CLOSED.value,
}

# Changes of a withdrawal: by the event where that says more than the state after it.
SCHEDULE = "schedule"
OF_EVENTS = {
    Event.RESCHEDULE.value: EventType.WITHDRAWAL_RESCHEDULED.value,
    Event.RESEND.value: EventType.WITHDRAWAL_RESENT.value,
    Event.RETRY_NOW.value: EventType.WITHDRAWAL_RETRY_REQUESTED.value,
}
OF_STATES = {
    State.PENDING.value: EventType.WITHDRAWAL_SCHEDULED.value,
    State.SENDING.value: EventType.WITHDRAWAL_PROCESSING.value,
    State.UNKNOWN.value: EventType.WITHDRAWAL_UNKNOWN.value,
    State.NEEDS_REVIEW.value: EventType.WITHDRAWAL_NEEDS_REVIEW.value,
    State.COMPLETED.value: EventType.WITHDRAWAL_COMPLETED.value,
    State.FAILED_RETRYABLE.value: EventType.WITHDRAWAL_ATTEMPT_FAILED.value,
    State.FAILED_FINAL.value: EventType.WITHDRAWAL_FAILED.value,
    State.CANCELLED.value: EventType.WITHDRAWAL_CANCELLED.value,
}
# A row with another event is of a later release: this one does not know its type.
KNOWN_EVENTS = {SCHEDULE, *(event.value for event in Event)}

# The leg of the movement that an event of a withdrawal posts, if it posts one. With two
# movements (`record_paid`) it is the second one.
LEGS = {event: legs[-1] for event, legs in LEGS_OF_EVENTS.items()}
