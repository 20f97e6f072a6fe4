"""Guards of concurrency, unknown outcomes, money and keys; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard
from drills.guards_access import ACCESS_GUARDS
from drills.guards_answers import ANSWER_GUARDS
from drills.guards_bank import BANK_GUARDS
from drills.guards_batching import BATCHING_GUARDS
from drills.guards_books import BOOK_GUARDS
from drills.guards_clock import CLOCK_GUARDS
from drills.guards_connections import CONNECTION_GUARDS
from drills.guards_console import CONSOLE_GUARDS
from drills.guards_database import DATABASE_GUARDS
from drills.guards_events import EVENT_GUARDS
from drills.guards_http import HTTP_GUARDS
from drills.guards_lists import LIST_GUARDS
from drills.guards_locked import LOCKED_GUARDS
from drills.guards_many import MANY_GUARDS
from drills.guards_messages import MESSAGE_GUARDS
from drills.guards_names import NAME_GUARDS
from drills.guards_operator import OPERATOR_GUARDS
from drills.guards_outage import OUTAGE_GUARDS
from drills.guards_payouts import PAYOUT_GUARDS
from drills.guards_reschedule import RESCHEDULE_GUARDS
from drills.guards_returns import RETURN_GUARDS
from drills.guards_said_paid import SAID_PAID_GUARDS
from drills.guards_scheduling import SCHEDULING_GUARDS
from drills.guards_tenants import TENANT_GUARDS
from drills.guards_time import TIME_GUARDS
from drills.guards_told import TOLD_GUARDS
from drills.guards_transfers import TRANSFER_GUARDS
from drills.guards_wallets import WALLET_GUARDS
from drills.guards_webhooks import WEBHOOK_GUARDS

_DB = "wallets/utils/database/transactions.py"
_PAYOUT = "wallets/services/payouts/payout.py"

GUARDS = (
    *BANK_GUARDS,
    *BOOK_GUARDS,
    *OPERATOR_GUARDS,
    *CONSOLE_GUARDS,
    *TIME_GUARDS,
    *DATABASE_GUARDS,
    *OUTAGE_GUARDS,
    *CLOCK_GUARDS,
    *LIST_GUARDS,
    *LOCKED_GUARDS,
    *SAID_PAID_GUARDS,
    *CONNECTION_GUARDS,
    *SCHEDULING_GUARDS,
    *RESCHEDULE_GUARDS,
    *BATCHING_GUARDS,
    *MANY_GUARDS,
    *HTTP_GUARDS,
    *ANSWER_GUARDS,
    *TOLD_GUARDS,
    *MESSAGE_GUARDS,
    *PAYOUT_GUARDS,
    *WALLET_GUARDS,
    *TRANSFER_GUARDS,
    *RETURN_GUARDS,
    *EVENT_GUARDS,
    *WEBHOOK_GUARDS,
    *NAME_GUARDS,
    *TENANT_GUARDS,
    *ACCESS_GUARDS,
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
        "wallets/utils/database/batch.py",
        "        if changed != len(rows):\n",
        "        if False:\n",
        "test_batch.py",
        POSTGRESQL,
    ),
    Guard(
        "a failed transaction runs again as a whole",
        _DB,
        "if run == MAX_RUNS or taken > 1 or not may_be_over_next_time(error):",
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
        "a damaged wallet does not stop the others",
        "wallets/utils/damaged.py",
        "    *(DataError, IntegrityError, LostRace),\n",
        "",
        "test_drain.py::DamagedWalletTest test_damaged_rows.py",
    ),
    Guard(
        "a claim recognises its own COMMIT",
        _PAYOUT,
        "        if written and (mine := committed()):\n",
        "        if False:\n",
        "test_database_trouble.py::LostCommitTest",
        POSTGRESQL,
    ),
    # --- unknown outcomes ---
    Guard(
        "an unknown outcome is not refunded",
        "wallets/services/payouts/outcome.py",
        "    return Event.UNKNOWN\n",
        "    return Event.REJECTED\n",
        "test_payout.py::RecordTest test_withdrawal.py test_stateful.py",
    ),
    Guard(
        "a second sender's refusal proves nothing",
        "wallets/services/payouts/outcome.py",
        "if attempt.sends == 1 and answer.outcome is Outcome.REJECTED:",
        "if answer.outcome is Outcome.REJECTED:",
        "test_payout.py::SecondSenderTest test_stateful.py",
    ),
    Guard(
        "a second sender's 'not sent' proves nothing",
        "wallets/services/payouts/outcome.py",
        "if attempt.sends == 1 and answer.outcome is Outcome.NOT_SENT:",
        "if answer.outcome is Outcome.NOT_SENT:",
        "test_payout.py::SecondSenderTest test_stateful.py",
    ),
    Guard(
        "a late answer moves no money",
        _PAYOUT,
        "        if attempt.open is None:\n"
        "            outcome.check_late_answer(withdrawal, attempt, answer)\n"
        "            continue\n",
        "",
        "test_payout.py::RecordTest test_payout.py::LateAnswerTest",
    ),
    Guard(
        "alarm for a late payment",
        "wallets/services/payouts/outcome.py",
        "if answer.outcome is Outcome.ACCEPTED and not paid:",
        "if False:",
        "test_payout.py::LateAnswerTest",
    ),
    Guard(
        "alarm for a contradiction",
        "wallets/services/payouts/outcome.py",
        "elif answer.outcome is Outcome.REJECTED and paid:",
        "elif False:",
        "test_payout.py::LateAnswerTest",
    ),
    Guard(
        "a reference of its own for each attempt",
        "wallets/services/withdrawals/reference.py",
        'f"withdrawal {key} {number}"',
        'f"withdrawal {key}"',
        "test_payout.py::ReferenceTest",
    ),
    Guard(
        "a refund needs proof about the same attempt",
        "wallets/services/withdrawal.py",
        "if not proof or attempt.reference != reference:",
        "if not proof:",
        "test_withdrawal.py::WithdrawalRefundTest",
    ),
    Guard(
        "no check before the sender's lease ends",
        "wallets/services/payouts/attempt.py",
        "        next_check_at=lease_expires_at,\n",
        "        next_check_at=now,\n",
        "test_resolver.py::LeaseTest",
    ),
    # --- money and keys ---
    Guard(
        "cap on balance and held money",
        "wallets/services/ledger/postings.py",
        "    total = wallet.balance + wallet.held\n",
        "    total = wallet.balance\n",
        "test_wallet.py test_ledger.py",
    ),
    Guard(
        "a wallet spends at most its balance",
        "wallets/services/ledger/postings.py",
        "    if wallet.balance < amount:\n",
        "    if False:\n",
        "test_ledger.py",
    ),
    Guard(
        "a batch spends a wallet's money once",
        _PAYOUT,
        "        available[wallet.pk] -= row.amount\n",
        "",
        "test_payout.py::ClaimTest",
    ),
    Guard(
        "a key belongs to one request",
        "wallets/services/requests/idempotency.py",
        "    if not same:\n",
        "    if False:\n",
        "test_wallet.py test_withdrawal.py::ScheduleIdempotencyTest",
    ),
    Guard(
        "retries are counted",
        "wallets/services/payouts/outcome.py",
        "last = withdrawal.retry_count >= settings.WITHDRAWAL_MAX_RETRIES",
        "last = False",
        "test_withdrawal.py::WithdrawalRetryTest test_payout.py::RetryTest",
    ),
    Guard(
        "retries wait longer each time",
        "wallets/services/payouts/backoff.py",
        "base * 2 ** min(count, 32)",
        "base",
        "test_withdrawal.py::WithdrawalRetryTest test_payout.py::RetryTest",
    ),
    Guard(
        "only transitions of the table",
        "wallets/services/payouts/transition.py",
        "        if rule is None:\n",
        "        if False:\n",
        "test_states.py",
    ),
    Guard(
        "append-only triggers",
        # The triggers cannot be disabled in a migration: later ones create them again.
        "wallets/utils/database/append_only.py",
        "    _run(connection, _CREATE[connection.vendor], tables)\n",
        "    pass\n",
        "test_constraints.py::AppendOnlyTest",
    ),
    Guard(
        "order of the time limits",
        "wallets/checks.py",
        "        if not low < high  # also if one is not a number\n",
        "        if False\n",
        "test_checks.py::LimitsTest",
    ),
)
