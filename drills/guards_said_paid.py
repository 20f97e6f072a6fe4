"""Guards of what the bank may have paid already, and of settings that have changed."""

from __future__ import annotations

from drills.guard import MARIADB, Guard

_PAYOUTS = "wallets/services/payouts"
_ALARM = "wallets/services/operations/alarm.py"
_CLAIMING = f"{_PAYOUTS}/claiming.py"
_TESTS = "test_said_paid.py"
_MANY = f"{_TESTS}::ManySaidPaidTest"
_PLANS = "test_said_paid_plans.py"
_CHANGED = "test_sent_to.py"
_LIST_ALARMS = "wallets/services/operations/reconciliation_alarms.py"
_FULL = "test_bank_statement.py::FullListTest"
_REFERENCE = "wallets/services/withdrawals/reference.py"

SAID_PAID_GUARDS = (
    Guard(
        "nothing claimed that an alarm says to be paid",
        f"{_PAYOUTS}/payout.py",
        "    rows = [row for row in rows if row.pk not in said_paid]\n",
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
        "said[withdrawal.pk] - {(Alarm.Kind.UNKNOWN_PAYMENT, attempt.number)}",
        "said[withdrawal.pk]",
        _TESTS,
    ),
    Guard(
        "a bank that has paid one reference twice is asked no third time",
        f"{_PAYOUTS}/take.py",
        "said[withdrawal.pk] - {(Alarm.Kind.UNKNOWN_PAYMENT, attempt.number)}",
        "any(number != attempt.number for _, number in said[withdrawal.pk])",
        "test_listed.py::ListedSenderTest",
    ),
    Guard(
        "a lost answer ends no alarm of the bank's list",
        f"{_PAYOUTS}/outcome.py",
        "        if rule.to is State.COMPLETED and _may_be_listed(done, now)\n",
        "        if done.event not in FAILURE_CODES and _may_be_listed(done, now)\n",
        "test_listed.py::ListedSenderTest",
    ),
    Guard(
        "no verdict 'not paid' against an alarm about this attempt or a later one",
        "wallets/services/operations/review.py",
        "    listed = said_paid([withdrawal.pk]).filter(attempt_number__gte=attempt.number)\n",
        "    listed = said_paid([withdrawal.pk]).filter(kind=Alarm.Kind.UNKNOWN_PAYMENT)\n",
        "test_listed.py::ListedSenderTest",
    ),
    Guard(
        "new evidence opens an acknowledged alarm again",
        _ALARM,
        "        _open_again(raised, detail, now or database_now())\n",
        "        return\n",
        _TESTS,
    ),
    Guard(
        "the same evidence opens no acknowledged alarm again",
        _ALARM,
        "detail not in raised.detail",
        "True",
        "test_alarm.py::OpenedAgainTest",
    ),
    Guard(
        "a recorded payment ends no alarm about another attempt",
        _ALARM,
        "kind__in=_FORGOTTEN, attempt_number=number\n",
        "kind__in=_FORGOTTEN\n",
        _TESTS,
    ),
    Guard(
        "'refused' is believed of the bank that was asked to pay",
        f"{_PAYOUTS}/look_up.py",
        "    if event is Event.FOUND_REJECTED and not is_same_bank(attempt, present):\n",
        "    if event is None and not is_same_bank(attempt, present):\n",
        _CHANGED,
    ),
    Guard(
        "no retry by an operator of what an alarm says to be paid",
        "wallets/services/withdrawal.py",
        "            alarm.refuse_if_said_paid(withdrawal)\n",
        "",
        _TESTS,
    ),
    Guard(
        "what is said to be paid is not due",
        _CLAIMING,
        "    return waiting.without_held(Transaction.get_due_pending_withdrawals(now))\n",
        "    return Transaction.get_due_pending_withdrawals(now)\n",
        f"{_MANY}::test_are_no_work_that_a_sweep_leaves",
    ),
    Guard(
        "what is said to be paid keeps no retry waiting",
        _CLAIMING,
        "    return waiting.without_held(retries.filter(next_attempt_at__isnull=False))\n",
        "    return retries\n",
        f"{_MANY}::test_are_no_work_that_a_sweep_leaves",
    ),
    Guard(
        "no sweep goes on for what is said to be paid",
        _CLAIMING,
        "        pending = self._left(waiting.without_held(pending))\n",
        "        pending = self._left(pending)\n",
        f"{_MANY}::test_cost_a_sweep_one_claim",
    ),
    Guard(
        "damaged rows do not end a sweep of retries",
        _CLAIMING,
        "            return now if self._left(self._find(now)).exists() else None\n",
        "            return None\n",
        "test_damaged_due.py::DamagedDueTest",
    ),
    Guard(
        "what is due next is read in the order of an index",
        _CLAIMING,
        "        return readable.first(pending.order_by("
        '"scheduled_for", "id"), "scheduled_for")\n',
        '        return readable.earliest(pending, "scheduled_for")\n',
        _PLANS,
        MARIADB,
    ),
    Guard(
        "no sweep reads all alarms",
        _ALARM,
        '    return withdrawals.filter(IsNull(Subquery(alarms.values("pk")[:1]), True))\n',
        '    return withdrawals.exclude(pk__in=_saying_paid().values("transaction"))\n',
        _PLANS,
        MARIADB,
    ),
    Guard(
        "what is said to be paid wakes no worker",
        f"{_PAYOUTS}/dispatch.py",
        "    count = waiting.without_held(due).order_by()[:COUNT_LIMIT].count()\n",
        "    count = due.order_by()[:COUNT_LIMIT].count()\n",
        f"{_MANY}::test_wake_no_worker",
    ),
    Guard(
        "what is said to be paid is not late",
        "wallets/services/operations/payout_health.py",
        "    moment = readable.first(alarm.without_said_paid(rows), column)\n",
        "    moment = readable.first(rows, column)\n",
        f"{_MANY}::test_are_not_late",
    ),
    Guard(
        "what is said to be paid is not counted as due",
        "wallets/services/operations/metrics.py",
        "    return alarm.without_said_paid(due).order_by()[:COUNT_LIMIT].count()\n",
        "    return due.order_by()[:COUNT_LIMIT].count()\n",
        f"{_MANY}::test_are_not_counted_as_due",
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
    # --- the most alarms of a comparison ---
    Guard(
        "the cap of alarms drops none that says paid",
        _LIST_ALARMS,
        "            has_room = True  # if it exists, this may be new evidence\n",
        "            has_room = self._has_room(kind)\n",
        _FULL,
    ),
    Guard(
        "the cap of alarms drops none about an open attempt on the list",
        _LIST_ALARMS,
        "        self._write(kind, attempt.transaction_id, number, work)\n",
        "        if self._has_room(kind):\n            run_in_transaction(work)\n",
        "test_listed.py::ListedAttemptTest",
    ),
    Guard(
        "an alarm that exists takes the place of no other",
        _LIST_ALARMS,
        "    return [subject for subject in subjects if subject not in known]\n",
        "    return subjects\n",
        _FULL,
    ),
    Guard(
        "the alarms about strangers are limited",
        _LIST_ALARMS,
        "        if self._raised < MAX_ALARMS:\n",
        "        if True:\n",
        "test_bank_statement.py::BankStatementTest",
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
    Guard(
        "a recorded payment is recognised after fewer retries are allowed",
        _REFERENCE,
        "max(allowed, KNOWN_ATTEMPTS, least)",
        "max(allowed, least)",
        "test_record.py::RecordPaymentTest",
    ),
    Guard(
        "what the bank has paid is found after fewer retries are allowed",
        _REFERENCE,
        "max(allowed, KNOWN_ATTEMPTS, least)",
        "max(allowed, least)",
        "test_bank_statement.py::ForgottenTest",
    ),
    Guard(
        "the fast path tries the same references as the others",
        _REFERENCE,
        "    for number in _numbers():\n",
        "    for number in range(1, settings.WITHDRAWAL_MAX_RETRIES + 2):\n",
        "test_schedule.py::ReferencesTest",
    ),
)
