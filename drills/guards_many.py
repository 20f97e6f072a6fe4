"""Guards of withdrawals that are planned in one batch, and of batched reads.

See `drills.guard`.
"""

from __future__ import annotations

from drills.guard import MARIADB, POSTGRESQL, Guard

_BATCH = "wallets/services/requests/batch.py"
_SCHEDULES = "wallets/services/withdrawals/schedule_batch.py"
_STATEMENT = "wallets/services/withdrawals/schedule_postgresql.py"

MANY_GUARDS = (
    Guard(
        "the database's clock in the single statement that plans withdrawals",
        _STATEMENT,
        '        "now": now,\n',
        "        \"now\": now or datetime.now(__import__('datetime').timezone.utc),\n",
        "test_host_clock.py::StampTest",
        POSTGRESQL,
    ),
    Guard(
        "withdrawals take their keys in one order",
        _STATEMENT,
        "    FROM planned, clock ORDER BY key\n",
        "    FROM planned, clock\n",
        "test_deadlocks.py::OneOrderTest test_deadlocks.py::AnyMixTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement plans nothing that an operator has recorded",
        _STATEMENT,
        "    WHERE NOT EXISTS (SELECT FROM wallets_attempt\n",
        "    WHERE true OR NOT EXISTS (SELECT FROM wallets_attempt\n",
        "test_schedule.py::ScheduleManyTest test_record.py::RecordPaymentTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement plans nothing for the past",
        _STATEMENT,
        "    WHERE scheduled_for > now\n",
        "    WHERE true\n",
        "test_schedule.py::ScheduleManyTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement plans nothing beyond the horizon",
        _STATEMENT,
        "        AND scheduled_for <= now + make_interval(secs => %(horizon)s)\n",
        "        AND %(horizon)s::float8 > 0\n",
        "test_schedule.py::ScheduleManyTest",
        POSTGRESQL,
    ),
    Guard(
        "a group does not wait for a key in use",
        "wallets/services/withdrawals/schedule.py",
        "lock_wait=KEY_WAIT_SECONDS",
        "lock_wait=None",
        "test_schedule.py::ScheduleTogetherTest",
        POSTGRESQL,
    ),
    Guard(
        "the first request with a key counts, also when it has to wait",
        _BATCH,
        "            if key in self._put_off:\n",
        "            if False:\n",
        "test_schedule.py::ScheduleTogetherTest",
        MARIADB,
    ),
    Guard(
        "a key twice in one batch makes one withdrawal",
        _BATCH,
        "            if key in self._new:\n",
        "            if False:\n",
        "test_schedule.py::ScheduleManyTest test_schedule.py::OneAfterTheOtherTest",
    ),
    Guard(
        "a wallet is locked while it gets a new withdrawal",
        "wallets/services/ledger/postings.py",
        "        return lock_wallets_by_uuid(uuids, wait=wait)\n",
        "        rows = Wallet.objects.filter(uuid__in=uuids)\n"
        "        return {wallet.uuid: wallet for wallet in rows}\n",
        "test_wallet_life.py::LifeRaceTest"
        "::test_closes_a_wallet_or_schedules_a_withdrawal_never_both",
        MARIADB,
    ),
    Guard(
        "a worker is woken for the withdrawal that is due first",
        _SCHEDULES,
        "        first = min(times)\n",
        "        first = max(times)\n",
        "test_schedule.py::ScheduleManyTest",
    ),
    Guard(
        "what an operator has recorded is found by the very references",
        "wallets/services/withdrawals/reference.py",
        '        variant = "89ab"[int(one[16], 16) & 3]\n',
        '        variant = "8"\n',
        "test_schedule.py::ReferencesTest",
    ),
    Guard(
        "a transaction is found only under its own wallet",
        "wallets/services/reads/current.py",
        "        found.get(key)\n",
        "        {pk: row for (_, pk), row in found.items()}.get(key[1])\n",
        "test_reads.py::TransactionsTest test_reads.py::CancelOfTest",
    ),
    Guard(
        "a page is read backwards from its own end",
        "wallets/services/reads/reads_postgresql.py",
        "one.wallet_id >= w.wallet AND one.wallet_id <= w.wallet\n",
        "one.wallet_id >= w.wallet\n",
        "test_reads.py::PlanTest",
        POSTGRESQL,
    ),
)
