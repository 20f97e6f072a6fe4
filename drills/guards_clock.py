"""Guards of the database's clock and of the order of locks; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

CLOCK_GUARDS = (
    Guard(
        "a lease that no process can count to its end comes to review",
        "wallets/services/payouts/step.py",
        "        if _is_overdue(attempt.last_sent_at, moment):\n",
        "        if False:\n",
        "test_clock_steps.py::NamelessClockTest",
    ),
    Guard(
        "an unknown outcome that no process can count comes to review",
        "wallets/services/payouts/step.py",
        "    if _is_overdue(withdrawal.unknown_since, moment):\n",
        "    if False:\n",
        "test_clock_steps.py::NamelessClockTest",
    ),
    Guard(
        "the database's clock alone ends no lease that a named clock counts",
        "wallets/services/payouts/step.py",
        "return clock.ends_with_process(moment.clock) and passed",
        "return passed",
        "test_clock_steps.py::NamelessClockTest",
    ),
    Guard(
        "the database's clock in the single statement",
        "wallets/services/deposits/deposit.py",
        "deposit_at_once, left, now, caller=caller, skip_locked=not alone",
        "deposit_at_once, left, now or __import__('datetime').datetime.now("
        "__import__('datetime').timezone.utc), caller=caller, skip_locked=not alone",
        "test_host_clock.py::StampTest",
        POSTGRESQL,
    ),
    Guard(
        "the database's clock step by step",
        "wallets/services/deposits/deposit_batch.py",
        "now=now or database_now(),",
        "now=now or __import__('datetime').datetime.now("
        "__import__('datetime').timezone.utc),",
        "test_host_clock.py::StampTest",
        POSTGRESQL,
    ),
    Guard(
        "the database's clock for rows whose writer names none",
        "wallets/models/base.py",
        'getattr(model_instance, "created_at", None) or database_now()',
        "datetime.now(__import__('datetime').timezone.utc)",
        "test_host_clock.py::StampTest",
        POSTGRESQL,
    ),
    Guard(
        "the database's clock decides what is in the future",
        "wallets/services/withdrawals/schedule_batch.py",
        "        now=now or database_now(),",
        "        now=now or datetime.now(__import__('datetime').timezone.utc),",
        "test_host_clock.py::StampTest",
        POSTGRESQL,
    ),
    Guard(
        "readyz names a clock that is wrong",
        "wallets/services/operations/host_clock.py",
        "    if abs(seconds) <= TOLERATED_SECONDS:\n",
        "    if True:\n",
        "test_host_clock.py::WrongClockReportTest test_host_clock.py::DescribeTest",
    ),
    Guard(
        "wallets dated ahead are named",
        "wallets/services/ledger/ledger_audit.py",
        "    if wallet.movement_count and ahead > TOLERATED:\n",
        "    if False:\n",
        "test_host_clock.py::DatedAheadTest",
    ),
    Guard(
        "keys are locked in one order",
        "wallets/services/ledger/ledger_postgresql.py",
        "WHERE total <= {max_money} ORDER BY key",
        "WHERE total <= {max_money} ORDER BY place",
        "test_deadlocks.py::OneOrderTest test_deadlocks.py::AnyMixTest",
        POSTGRESQL,
    ),
    Guard(
        "a used key rolls nothing back",
        "wallets/utils/database/batch.py",
        "untaken = f' ON CONFLICT DO NOTHING RETURNING",
        "untaken = f' RETURNING",
        "test_deadlocks.py::OneOrderTest",
        POSTGRESQL,
    ),
    Guard(
        "a bulk request locks no other wallet while it waits",
        "wallets/services/deposits/deposit.py",
        "    alone = wait and len(left) <= 1\n",
        "    alone = wait\n",
        "test_deposit.py::OneOfABulkTest",
        POSTGRESQL,
    ),
    Guard(
        "a group is halved around a conflicting request",
        "wallets/services/requests/group.py",
        "        elif len(part) > 1:\n",
        "        elif False:\n",
        "test_deposit.py::OneOfAGroupTest",
    ),
)
