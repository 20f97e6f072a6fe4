"""Guards of what the bank may have paid already, and of settings that have changed."""

from __future__ import annotations

from drills.guard import Guard

_PAYOUTS = "wallets/services/payouts"
_ALARM = "wallets/services/operations/alarm.py"
_TESTS = "test_said_paid.py"
_CHANGED = "test_sent_to.py"

SAID_PAID_GUARDS = (
    Guard(
        "nothing claimed that an alarm says to be paid",
        f"{_PAYOUTS}/payout.py",
        "    rows = [row for row in rows if row.pk not in found.said_paid]\n",
        "",
        _TESTS,
    ),
    Guard(
        "nothing sent again that an alarm says to be paid",
        f"{_PAYOUTS}/take.py",
        "    steps = _without_what_is_said_paid(chosen, steps)\n",
        "",
        _TESTS,
    ),
    Guard(
        "the same reference is sent again to a bank that dedupes",
        f"{_PAYOUTS}/take.py",
        "numbers[withdrawal.pk] - {attempt.number}",
        "numbers[withdrawal.pk]",
        _TESTS,
    ),
    Guard(
        "no retry by an operator of what an alarm says to be paid",
        "wallets/services/withdrawal.py",
        "            alarm.refuse_if_said_paid(withdrawal)\n",
        "",
        _TESTS,
    ),
    Guard(
        "what is said to be paid keeps nobody else waiting",
        f"{_PAYOUTS}/claiming.py",
        "            self._said_paid |= claimed.said_paid\n",
        "",
        f"{_TESTS}::SaidPaidTest::test_keeps_nobody_else_waiting",
    ),
    Guard(
        "each alarm that says paid counts",
        _ALARM,
        "_SAY_PAID = (*_FORGOTTEN, Alarm.Kind.PAID_TWICE, Alarm.Kind.PAID_OTHERWISE)",
        "_SAY_PAID = _FORGOTTEN",
        _TESTS,
    ),
    Guard(
        "an acknowledged alarm stops nothing",
        _ALARM,
        "kind__in=_SAY_PAID, acknowledged_at=None",
        "kind__in=_SAY_PAID",
        _TESTS,
    ),
    Guard(
        "a recorded payment ends the alarm of its withdrawal",
        _ALARM,
        "    for alarms in (of_reference, of_withdrawal):\n",
        "    for alarms in (of_reference,):\n",
        _TESTS,
    ),
    # --- settings that have changed while attempts are open ---
    Guard(
        "a look-up declared later proves nothing about what was sent before",
        f"{_PAYOUTS}/look_up.py",
        "        abilities = abilities_for(attempt, present)\n",
        "        abilities = present\n",
        _CHANGED,
    ),
    Guard(
        "dedupe declared later sends nothing again that was sent before",
        f"{_PAYOUTS}/take.py",
        "next_step(abilities_for(attempt, abilities), attempt, withdrawal, taken)",
        "next_step(abilities, attempt, withdrawal, taken)",
        _CHANGED,
    ),
    Guard(
        "another bank knows nothing of this one's payments",
        f"{_PAYOUTS}/sent_to.py",
        '        dedupe_window = lookup_window = "0"\n',
        "        pass\n",
        _CHANGED,
    ),
    Guard(
        "a claim stores the bank that it sends to",
        f"{_PAYOUTS}/attempt.py",
        "        sent_to=claim.sent_to,\n",
        "",
        _CHANGED,
    ),
    Guard(
        "'refused' after two requests needs a bank that dedupes",
        f"{_PAYOUTS}/look_up.py",
        "(attempt.sends == 1 or abilities.dedupes)",
        "True",
        "test_resolver.py::SeveralRequestsTest",
    ),
    Guard(
        "'not found' in review is not waited for",
        f"{_PAYOUTS}/look_up.py",
        "        counts = rule_for(withdrawal.state, Event.FOUND_NOTHING) is not None\n",
        "        counts = True\n",
        "test_resolver.py::InReviewTest",
    ),
    Guard(
        "a retry that a wrong clock has planned is made",
        "wallets/models/transaction.py",
        "& ~Q(next_attempt_at__gt=now, next_attempt_at__lte=latest)",
        "& ~Q(next_attempt_at__gt=now)",
        "test_drain.py::DrainTest",
    ),
)
