"""Guards of kept connections, of pauses, of the currency, and of what says that sweeps run."""

from __future__ import annotations

from drills.guard import MARIADB, POSTGRESQL, Guard

_BANK = "wallets/utils/third_party.py"
_CALLS = "wallets/utils/bank/http_calls.py"
_HAND = "wallets/services/payouts/calls.py"
_CURRENCY = "test_payable_currency.py"

PAYOUT_GUARDS = (
    # --- a bank that names the reference in some answers only ---
    Guard(
        "no answer without an echo on a connection used before",
        _BANK,
        "            if result.reused:\n",
        "            if False:\n",
        "test_third_party.py::MixedEchoTest",
    ),
    Guard(
        "no connection kept after one answer without an echo",
        _BANK,
        "            self._echoes = False\n",
        "            pass\n",
        "test_third_party.py::MixedEchoTest",
    ),
    Guard(
        "a connection is used before only by a call",
        "wallets/utils/bank/connections.py",
        "        return self._calls > 1\n",
        "        return self._calls > 0\n",
        "test_third_party.py::MixedEchoTest test_third_party.py::EchoTest",
    ),
    Guard(
        "the other connections closed after an answer that is not ours",
        _CALLS,
        "                self._close_resting()  # the others may be no better\n",
        "                pass\n",
        "test_third_party.py::MixedEchoTest",
    ),
    # --- a pause ---
    Guard(
        "what waits for its turn is taken back when payouts are paused",
        _HAND,
        "                        call.cancel()\n",
        "                        pass\n",
        "test_pause.py::WithdrawnTest",
    ),
    Guard(
        "the last retry is not taken back",
        _HAND,
        "                    if sent.attempt.number <= settings.WITHDRAWAL_MAX_RETRIES:\n",
        "                    if True:\n",
        "test_pause.py::WithdrawnTest",
    ),
    Guard(
        "a sweep goes on when the pause cannot be read",
        _HAND,
        "        with suppress(DatabaseError, InterfaceError):\n",
        "        with suppress():\n",
        "test_pause.py::WithdrawnTest",
    ),
    Guard(
        "a call that was sent is not taken back",
        _CALLS,
        "        if late or not call.future.set_running_or_notify_cancel():\n",
        "        if late or call.future.cancelled():\n",
        "test_third_party.py::CancelledCallTest",
    ),
    Guard(
        "a call that was taken back is not sent",
        _CALLS,
        "        if late or not call.future.set_running_or_notify_cancel():\n",
        "        if late or call.future.set_running_or_notify_cancel() is None:\n",
        "test_third_party.py::CancelledCallTest",
    ),
    Guard(
        "what was taken back is no lost answer",
        "wallets/services/operations/payout_health.py",
        "    latest = latest.exclude(evidence=pause.WITHDRAWN)  # no call was made\n",
        "",
        "test_pause.py::WithdrawnTest",
    ),
    Guard(
        "workers woken at the end of a pause",
        "wallets/services/operations/pause.py",
        "        transaction.on_commit(_wake_workers, robust=True)\n",
        "",
        "test_pause.py::PauseTest",
    ),
    # --- what says that sweeps run ---
    Guard(
        "no word of a heartbeat of the future",
        "wallets/services/operations/readiness.py",
        "        if last is not None and last - now > AHEAD:\n",
        "        if False:\n",
        "test_heartbeat.py",
    ),
    Guard(
        "answers of the future are not the latest",
        "wallets/services/operations/payout_health.py",
        "created_at__range=(now - LATELY, now))\n",
        "created_at__gte=now - LATELY)\n",
        "test_heartbeat.py::PayoutHealthTest",
    ),
    # --- two at once, whatever the server's isolation level is ---
    Guard(
        "an alarm acknowledged in a transaction",
        "wallets/services/operations/alarm.py",
        "    return run_in_transaction(work)\n",
        "    return work()\n",
        "test_pooler.py::IsolationTest",
        POSTGRESQL,
    ),
    # --- the currency that the bank pays ---
    Guard(
        "no schedule in a currency that the bank does not pay",
        "wallets/services/withdrawals/schedule_batch.py",
        "        currency.check_payable(wallet)\n",
        "",
        f"{_CURRENCY}::ScheduleTest",
    ),
    Guard(
        "the single statement schedules no currency that the bank does not pay",
        "wallets/services/withdrawals/schedule_postgresql.py",
        "        AND %(payable)s::text IN ('*', currency)\n",
        "",
        f"{_CURRENCY}::ScheduleTest",
        POSTGRESQL,
    ),
    Guard(
        "no attempt in a currency that the bank does not pay",
        "wallets/services/payouts/payout.py",
        "        if not is_payable(wallet):\n",
        "        if False:\n",
        f"{_CURRENCY}::DueTest",
    ),
    Guard(
        "what the bank does not pay keeps nobody else waiting",
        "wallets/services/payouts/waiting.py",
        "    return alarm.without_said_paid(currency.payable(due))\n",
        "    return alarm.without_said_paid(due)\n",
        f"{_CURRENCY}::DueTest",
    ),
    Guard(
        "a claim of retries reads no row without a time",
        "wallets/services/payouts/claiming.py",
        "waiting.without_held(retries.filter(next_attempt_at__isnull=False))",
        "waiting.without_held(retries)",
        "test_retry_plans.py",
        MARIADB,
    ),
)
