"""Guards of operators' actions, and of what clients may see and cancel.

See `drills.guard`.
"""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_PAYOUT = "wallets/services/payouts/payout.py"
_STEP = "wallets/services/payouts/step.py"
_REFERENCE = "wallets/services/withdrawals/reference.py"
_FORGOTTEN = "test_bank_statement.py::ForgottenTest test_record.py::RecordPaymentTest"

OPERATOR_GUARDS = (
    Guard(
        "a pause reaches every process in time",
        "wallets/services/payouts/calls.py",
        "PAUSE_SECONDS = 1.0\n",
        "PAUSE_SECONDS = 60.0\n",
        "test_run_sweeps.py::RunSweepsProcessTest",
    ),
    Guard(
        "the metrics know how far this host's clock is ahead",
        "wallets/services/operations/metrics.py",
        "        clock_offset_seconds=host_clock.offset(),\n",
        "",
        "test_metrics.py::ScrapeTest",
        POSTGRESQL,
    ),
    Guard(
        "payouts can be paused",
        _PAYOUT,
        "        if pause.is_paused():\n",
        "        if False:\n",
        "test_payout.py::ClaimTest test_pause.py",
    ),
    Guard(
        "a pause stops repeated sends",
        _STEP,
        "    if pause.is_paused():\n",
        "    if False:\n",
        "test_pause.py::PauseTest test_bank_statement.py::PausedTest",
    ),
    Guard(
        "an operator's pause counts like the setting",
        "wallets/services/operations/pause.py",
        "return settings.WITHDRAWALS_PAUSED or Pause.objects.filter(open=True).exists()",
        "return settings.WITHDRAWALS_PAUSED",
        "test_pause.py::PauseTest",
    ),
    Guard(
        "nothing is cancelled while an attempt is open",
        "wallets/models/states.py",
        "    (State.SENDING, Event.ACCEPTED): _PAID,\n",
        "    (State.SENDING, Event.ACCEPTED): _PAID,\n"
        "    (State.SENDING, Event.CANCEL): Rule(State.CANCELLED),\n",
        "test_withdrawal.py::WithdrawalCancelTest test_states.py",
    ),
    Guard(
        "a withdrawal that is recorded as paid has not begun",
        "wallets/services/operations/record.py",
        "    if rule_for(state, Event.RECORD_PAID) is None:\n",
        "    if False:\n",
        "test_record.py::RecordPaidTest",
    ),
    Guard(
        "a withdrawal that is recorded as paid is covered by the balance",
        "wallets/services/operations/record.py",
        "    _check_balance(withdrawal.wallet, withdrawal.amount)\n",
        "",
        "test_record.py::RecordPaidTest",
    ),
    Guard(
        "a payment is recorded for one attempt",
        "wallets/services/operations/paid_attempt.py",
        "    if known is not None:\n",
        "    if False:\n",
        "test_record.py::RecordPaidTest",
    ),
    Guard(
        "a payment is recorded for the withdrawal whose reference it has",
        "wallets/services/operations/paid_attempt.py",
        "    if any_reference:\n",
        "    if True:\n",
        "test_record.py::RecordPaidTest",
    ),
    Guard(
        "a repeated request gets the recorded withdrawal",
        "wallets/services/withdrawals/schedule_batch.py",
        "        if (request.wallet_uuid, request.key) in self.recorded:\n",
        "        if False:\n",
        "test_record.py::RecordPaymentTest",
    ),
    Guard(
        "the bank may have paid a later attempt than the open one",
        _REFERENCE,
        "        Q(status__in=(status.PENDING, status.PROCESSING))\n",
        "        Q(status=status.PENDING)\n",
        _FORGOTTEN,
    ),
    Guard(
        "what an operator concluded as paid is not recorded a second time",
        _REFERENCE,
        "        | Q(status=status.COMPLETED) & Exists(concluded),\n",
        "        | Q(status=status.COMPLETED, final=True) & Exists(concluded),\n",
        _FORGOTTEN,
    ),
    Guard(
        "nothing is given back that the bank's list has as paid",
        "wallets/services/operations/review.py",
        "    if not said.paid:\n        _check_not_listed(withdrawal, attempt)\n",
        "",
        "test_bank_statement.py::ForgottenTest",
    ),
    Guard(
        "an unreadable row does not end the comparison with the bank's list",
        "wallets/services/operations/reconciliation_rows.py",
        "        all_or_each(\n            lambda some:",
        "        (lambda work, items, **_: work(items))(\n            lambda some:",
        "test_bank_statement.py::DamagedRowsTest",
    ),
    Guard(
        "a row that contradicts others does not end it",
        "wallets/services/operations/reconciliation_alarms.py",
        "        except DAMAGED as error:\n",
        "        except () as error:\n",
        "test_bank_statement.py::DamagedRowsTest",
    ),
    Guard(
        "clients see the bank's documented words only",
        "wallets/serializers/transaction.py",
        "return documented(transaction.third_party_response) or None",
        "return transaction.third_party_response or None",
        "test_bank_words.py::WhatClientsSeeTest",
    ),
    Guard(
        "an operator's evidence does not stand for the bank's answer",
        "wallets/services/payouts/attempt.py",
        "    if event not in _OPERATOR_SAYS:\n",
        "    if True:\n",
        "test_bank_words.py::WhatClientsSeeTest",
    ),
    Guard(
        "a refund takes two persons where the setting says so",
        "wallets/services/operations/review.py",
        "    if not said.paid and settings.REVIEW_TWO_PERSONS:\n",
        "    if False:\n",
        "test_review_proposal.py",
    ),
    Guard(
        "the second person is another person",
        "wallets/services/operations/review_proposal.py",
        "    if is_same_person(earlier, actor=actor, user_id=user_id):\n",
        "    if False:\n",
        "test_review_proposal.py",
    ),
    Guard(
        "the admin does not delete log-in records",
        "wallets/admin.py",
        "    (AccessAttempt, AccessLog, AccessFailureLog), OfService, list_display=_ACCESS\n",
        "    (AccessAttempt, AccessLog, AccessFailureLog), list_display=_ACCESS\n",
        "test_admin.py",
    ),
    Guard(
        "the bank is called only over HTTPS",
        "wallets/deployment.py",
        '    elif bank.scheme == "https" or _is_loopback(bank.hostname):\n',
        "    elif True:\n",
        "test_deployment.py",
    ),
    Guard(
        "the list shows withdrawals that wait for their wallets",
        "console/queries/listing.py",
        "        for waits in ((False, True) if status in _MAY_WAIT else (False,))\n",
        "        for waits in (False,)\n",
        "console/tests/test_withdrawals.py",
    ),
    Guard(
        "the list is read in its index's order",
        "console/queries/listing.py",
        "rows.filter(status=status, waits_for_wallet=waits)",
        "rows.filter(status=status)",
        "console/tests/test_withdrawal_plans.py",
        POSTGRESQL,
    ),
    Guard(
        "a review without an attempt hides no other review",
        "console/queries/listing.py",
        "attempts[-1] if attempts else None",
        "attempts[-1]",
        "console/tests/test_damaged.py",
    ),
    Guard(
        "an unknown status hides no other transaction",
        "wallets/models/states.py",
        "    return _BY_STATUS.get(row.status)\n",
        "    return _BY_STATUS[row.status]\n",
        "test_damaged_reads.py console/tests/test_damaged.py",
    ),
    Guard(
        "an unknown kind hides no other alarm",
        "console/queries/alarms.py",
        "meaning.get(row.kind, UNKNOWN)",
        "meaning[row.kind]",
        "console/tests/test_damaged.py",
    ),
    Guard(
        "the ledger is verified past a movement of an unknown kind",
        "wallets/services/ledger/ledger_audit.py",
        "        if kind in Movement.Kind.values:\n",
        "        if True:\n",
        "test_damaged_reads.py",
    ),
    Guard(
        "a page of the console needs the view permission",
        "console/views/base.py",
        "                if lacking := not_to_see(request.user, models):\n",
        '                if lacking := "":\n',
        "console/tests/test_access.py::PermissionTest",
    ),
)
