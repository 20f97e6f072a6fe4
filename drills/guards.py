"""Guards of concurrency, of the unknown, and of money; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard
from drills.guards_bank import BANK_GUARDS
from drills.guards_operator import OPERATOR_GUARDS

_DB = "wallets/utils/db.py"
_PAYOUT = "wallets/services/payout.py"
_RESOLVER = "wallets/services/resolver.py"

GUARDS = (
    *BANK_GUARDS,
    *OPERATOR_GUARDS,
    # --- concurrency ---
    Guard(
        "row lock",
        _DB,
        "    if can.has_select_for_update:\n",
        "    if False:\n",
        "test_concurrency.py",
        POSTGRESQL,
    ),
    Guard(
        "compare-and-set",
        _DB,
        "if model._default_manager.filter(**guard).update(**changes) != 1:",
        'if not model._default_manager.filter(pk=guard["pk"]).update(**changes):',
        "test_db.py test_ledger.py test_resolver.py",
    ),
    Guard(
        "compare-and-set of many rows",
        "wallets/utils/batch.py",
        "        if changed != len(rows):\n",
        "        if False:\n",
        "test_batch.py",
        POSTGRESQL,
    ),
    Guard(
        "whole transactions run again",
        _DB,
        "if run == MAX_RUNS or taken > 1 or not _worth_another_run(error):",
        "if True:",
        "test_db.py",
    ),
    Guard(
        "bounded number of runs",
        _DB,
        "MAX_RUNS = 5\n",
        "MAX_RUNS = 50\n",
        "test_db.py",
    ),
    Guard(
        "one damaged wallet stops nobody else",
        _DB,
        "DAMAGED = (DataError, IntegrityError, LostRace)",
        "DAMAGED = ()",
        "test_drain.py::DamagedWalletTest",
    ),
    Guard(
        "own COMMIT recognised by a claim",
        _PAYOUT,
        "            if mine:\n",
        "            if False:\n",
        "test_database_trouble.py::LostCommitTest",
        POSTGRESQL,
    ),
    # --- unknown is not failed ---
    Guard(
        "unknown is not refunded",
        _PAYOUT,
        "    return Event.UNKNOWN\n",
        "    return Event.REJECTED\n",
        "test_payout.py::RecordTest test_withdrawal.py test_stateful.py",
    ),
    Guard(
        "a second sender's refusal proves nothing",
        _PAYOUT,
        "if attempt.sends == 1 and answer.outcome is Outcome.REJECTED:",
        "if answer.outcome is Outcome.REJECTED:",
        "test_payout.py::SecondSenderTest test_stateful.py",
    ),
    Guard(
        "a second sender's 'not sent' proves nothing",
        _PAYOUT,
        "if attempt.sends == 1 and answer.outcome is Outcome.NOT_SENT:",
        "if answer.outcome is Outcome.NOT_SENT:",
        "test_payout.py::SecondSenderTest test_stateful.py",
    ),
    Guard(
        "a stale sender moves nothing",
        _PAYOUT,
        "        if attempt.open is None:\n"
        "            check_late_answer(withdrawal, attempt, answer)\n"
        "            continue\n",
        "",
        "test_payout.py::RecordTest test_payout.py::LateAnswerTest",
    ),
    Guard(
        "alarm for a late payment",
        _PAYOUT,
        "if answer.outcome is Outcome.ACCEPTED and not paid:",
        "if False:",
        "test_payout.py::LateAnswerTest",
    ),
    Guard(
        "alarm for a contradiction",
        _PAYOUT,
        "elif answer.outcome is Outcome.REJECTED and paid:",
        "elif False:",
        "test_payout.py::LateAnswerTest",
    ),
    Guard(
        "a reference of its own for each attempt",
        _PAYOUT,
        "withdrawal {key} {number}",
        "withdrawal {key}",
        "test_payout.py::ReferenceTest",
    ),
    Guard(
        "a refund is of the attempt that its proof is about",
        "wallets/services/withdrawal.py",
        "if not proof or attempt.reference != reference:",
        "if not proof:",
        "test_withdrawal.py::WithdrawalRefundTest",
    ),
    Guard(
        "a live sender is left alone",
        _PAYOUT,
        "        next_check_at=lease_expires_at,\n",
        "        next_check_at=now,\n",
        "test_resolver.py::LeaseTest",
    ),
    Guard(
        "quiet period",
        _RESOLVER,
        "return attempt.last_sent_at + timedelta(seconds=quiet)",
        "return attempt.last_sent_at",
        "test_resolver.py::QuietPeriodTest test_stateful.py",
    ),
    Guard(
        "quiet period covers the bank's booking time",
        _RESOLVER,
        "longest + abilities.booking_time)",
        "longest)",
        "test_resolver.py::QuietPeriodTest",
    ),
    Guard(
        "second 'not found'",
        _RESOLVER,
        "answer.outcome is Outcome.NOT_FOUND and believable"
        " and attempt.not_found_count:",
        "answer.outcome is Outcome.NOT_FOUND and believable:",
        "test_resolver.py::LookUpTest",
    ),
    Guard(
        "a look-up is as old as its question",
        _RESOLVER,
        "        event = _event_of(answer,",
        "        object.__setattr__(check, 'taken_at', now)\n"
        "        event = _event_of(answer,",
        "test_resolver.py::LookUpTest",
    ),
    Guard(
        "overtaken look-ups are dropped",
        _RESOLVER,
        "        if attempt.checks != check.attempt.checks:\n",
        "        if False:\n",
        "test_resolver.py::TwoResolversTest",
    ),
    Guard(
        "re-send only to a bank that dedupes",
        _RESOLVER,
        "if abilities.dedupes and now + margin < remembers_until:",
        "if True:",
        "test_resolver.py::BareBankTest",
    ),
    Guard(
        "dedupe window",
        _RESOLVER,
        "if abilities.dedupes and now + margin < remembers_until:",
        "if abilities.dedupes:",
        "test_resolver.py::ResendTest test_stateful.py",
    ),
    Guard(
        "an operator is called for a bank that stays silent",
        _RESOLVER,
        "if step is Step.RESEND and _sent_long_enough(attempt, now):",
        "if False:",
        "test_resolver.py::ResendTest",
    ),
    Guard(
        "nothing sent behind an operator's back",
        _RESOLVER,
        "if step is Step.RESEND and withdrawal.state is not State.UNKNOWN:",
        "if False:",
        "test_resolver.py::ResendTest",
    ),
    Guard(
        "needs_review for a bare bank",
        _RESOLVER,
        "    elif step is Step.REVIEW or _too_long_unknown(withdrawal, now):\n",
        "    elif False:\n",
        "test_resolver.py::BareBankTest",
    ),
    # --- money and keys ---
    Guard(
        "cap on balance and held money",
        "wallets/services/ledger.py",
        "    total = wallet.balance + wallet.held\n",
        "    total = wallet.balance\n",
        "test_wallet.py test_ledger.py",
    ),
    Guard(
        "no more than there is",
        "wallets/services/ledger.py",
        "    if wallet.balance < amount:\n",
        "    if False:\n",
        "test_ledger.py",
    ),
    Guard(
        "a batch spends a wallet's money once",
        _PAYOUT,
        "        available[row.wallet_id] -= row.amount\n",
        "",
        "test_payout.py::ClaimTest",
    ),
    Guard(
        "same key, same request",
        "wallets/services/idempotency.py",
        "    if not same:\n",
        "    if False:\n",
        "test_wallet.py test_withdrawal.py::ScheduleIdempotencyTest",
    ),
    Guard(
        "retries are counted",
        "wallets/services/outcome.py",
        "last = withdrawal.retry_count >= settings.WITHDRAWAL_MAX_RETRIES",
        "last = False",
        "test_withdrawal.py::WithdrawalRetryTest test_payout.py::RetryTest",
    ),
    Guard(
        "retries wait longer each time",
        "wallets/services/backoff.py",
        "base * 2 ** min(count, 32)",
        "base",
        "test_withdrawal.py::WithdrawalRetryTest test_payout.py::RetryTest",
    ),
    Guard(
        "only the table's transitions",
        "wallets/services/transition.py",
        "        if rule is None:\n",
        "        if False:\n",
        "test_states.py",
    ),
    Guard(
        "append-only triggers",
        # Not in a migration: later ones put the triggers back.
        "wallets/utils/append_only.py",
        "    _run(connection, _CREATE[connection.vendor])\n",
        "    pass\n",
        "test_constraints.py::AppendOnlyTest",
    ),
    Guard(
        "time limits in order",
        "wallets/checks.py",
        "        if low >= high\n",
        "        if False\n",
        "test_checks.py::LimitsTest",
    ),
)
