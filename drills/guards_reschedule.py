"""Guards of rescheduled withdrawals; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_SERVICE = "wallets/services/withdrawals/reschedule.py"
_TESTS = "test_reschedule.py::"
_EVENTS = "events/tests/test_rescheduled.py"

RESCHEDULE_GUARDS = (
    Guard(
        "only what has not begun is rescheduled",
        "wallets/models/states.py",
        "    (State.FAILED_RETRYABLE, Event.CANCEL): Rule(State.CANCELLED),\n",
        "    (State.FAILED_RETRYABLE, Event.CANCEL): Rule(State.CANCELLED),\n"
        "    (State.FAILED_RETRYABLE, Event.RESCHEDULE): Rule(State.PENDING),\n",
        f"{_TESTS}RescheduleInAStateTest",
    ),
    Guard(
        "a withdrawal is rescheduled for a future time",
        _SERVICE,
        '            "scheduled_for": checked_schedule(scheduled_for, now=moment),\n',
        '            "scheduled_for": scheduled_for,\n',
        f"{_TESTS}RescheduleTest",
    ),
    Guard(
        "the time of a request is kept once",
        _SERVICE,
        '            "first_scheduled_for": withdrawal.requested_for,\n',
        '            "first_scheduled_for": withdrawal.scheduled_for,\n',
        f"{_TESTS}RescheduleTest",
    ),
    Guard(
        "a repeated reschedule changes nothing",
        _SERVICE,
        "        if _has_time_already(withdrawal, scheduled_for):\n",
        "        if False:\n",
        f"{_TESTS}RescheduleTest",
    ),
    Guard(
        "a repeated reschedule is no refusal when the withdrawal has begun",
        _SERVICE,
        "    return was_rescheduled or withdrawal.state is State.PENDING\n",
        "    return withdrawal.state is State.PENDING\n",
        f"{_TESTS}RescheduleTest",
    ),
    Guard(
        "a worker is told of a sooner time",
        _SERVICE,
        "        hand_over([withdrawal], now=moment)\n",
        "",
        f"{_TESTS}RescheduleHandOverTest",
    ),
    Guard(
        "a rescheduled withdrawal waits for no freeze",
        "wallets/services/payouts/transition.py",
        '        "waits_for_wallet": False,\n',
        "",
        f"{_TESTS}RescheduleWhileFrozenTest",
    ),
    Guard(
        "a repeated request is compared with its own time",
        "wallets/services/requests/idempotency.py",
        "    if made.requested_for == scheduled_for:\n",
        "    if made.scheduled_for == scheduled_for:\n",
        f"{_TESTS}RescheduledRequestTest",
    ),
    Guard(
        "a repeated request gets the answer with its own time",
        "wallets/serializers/withdraw.py",
        '        "scheduled_for": withdrawal.requested_for,\n',
        '        "scheduled_for": withdrawal.scheduled_for,\n',
        "test_api_reschedule.py",
    ),
    Guard(
        "an event tells the time that held at its moment",
        "events/services/content.py",
        '        sequence__lte=OuterRef("sequence"),\n',
        "",
        _EVENTS,
    ),
    Guard(
        "an event before the first reschedule tells the time of the request",
        "events/services/content.py",
        "known.get(row.pk) or row.transaction.requested_for",
        "known.get(row.pk) or row.transaction.scheduled_for",
        _EVENTS,
    ),
    Guard(
        "a reschedule is an event of its own",
        "events/services/kinds.py",
        "    Event.RESCHEDULE.value: EventType.WITHDRAWAL_RESCHEDULED.value,\n",
        "",
        _EVENTS,
    ),
)
