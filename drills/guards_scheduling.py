"""Guards of payouts on time, and of the reports about them; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_BROKER = "wallets/utils/messaging/broker.py"
_SWEEPS = "wallets/services/payouts/sweeps.py"
_REDIS = "test_broker.py::RedisPublishingTest::test_"

SCHEDULING_GUARDS = (
    Guard(
        "ticks by elapsed time",
        "wallets/utils/messaging/beat.py",
        "    return schedule(timedelta(seconds=seconds), nowfun=_elapsed_now)\n",
        "    return schedule(timedelta(seconds=seconds))\n",
        "test_beat.py",
    ),
    Guard(
        "no message expires by another host's clock",
        "wallets/utils/messaging/beat.py",
        "**entry.options\n",
        "**entry.options, expires=2\n",
        "test_worker_pools.py::WrongClockTest::test_of_a_worker_makes_nothing_late_or_early",
        POSTGRESQL,
    ),
    Guard(
        "wake-ups at the same time are one message",
        _BROKER,
        "                    if left <= 0 or self._hurries:\n",
        "                    if True:\n",
        f"{_REDIS}makes_one_message_of_wake_ups_at_the_same_time",
    ),
    Guard(
        "nothing is added to a queue in which enough waits",
        _BROKER,
        "        for _ in range(min(times, room)):\n",
        "        for _ in range(times):\n",
        f"{_REDIS}adds_nothing_to_a_queue_in_which_enough_waits",
    ),
    Guard(
        "a replica does not count as a broker",
        _BROKER,
        "        _try_a_message(connection)\n",
        "        pass\n",
        f"{_REDIS}knows_that_a_replica_takes_no_messages",
    ),
    Guard(
        "a worker goes on when its Redis takes messages again",
        "wallet/brokers.py",
        "    # A server that became a replica refuses what it is told, and may take it again soon.\n"
        '    "BROKER_CHANNEL_ERROR_RETRY": True,\n',
        "",
        "test_workers.py::LossOfRedisTest::"
        "test_consumes_again_after_the_server_was_a_replica_for_a_while",
    ),
    Guard(
        "a pool without processes is not a parent that died",
        "wallets/utils/messaging/stopping.py",
        "    if _in_parent and os.getpid() != _parent:\n",
        "    if _in_parent:\n",
        "test_worker_pools.py::PoolTest::test_without_child_processes_works",
    ),
    Guard(
        "pools of greenlets are refused",
        "wallet/celery.py",
        '    if "gevent" in name or "eventlet" in name:\n',
        "    if False:\n",
        "test_worker_pools.py::RefusedPoolTest",
    ),
    Guard(
        "no heartbeat for a drain that could not claim",
        _SWEEPS,
        "    if sweep.claiming.looked:\n",
        "    if True:\n",
        "test_heartbeat.py",
    ),
    Guard(
        "no heartbeat of a tick while payouts are paused",
        "wallets/services/payouts/dispatch.py",
        "    if pause.is_paused():\n",
        "    if False:\n",
        "test_heartbeat.py",
    ),
    Guard(
        "drains leave room for the resolver",
        "wallet/celery.py",
        "max(1, instance.concurrency - 2)",
        "instance.concurrency",
        "test_slots.py",
    ),
    Guard(
        "the resolver has a queue of its own",
        "wallet/brokers.py",
        '{"queue": f"{queue}-resolve"}',
        '{"queue": queue}',
        "test_slots.py",
    ),
    Guard(
        "wake-ups for payouts do not fill the queue of other tasks",
        "wallet/brokers.py",
        '            "*": {"queue": f"{queue}-others"},\n',
        "",
        f"{_REDIS}takes_the_ticks_of_other_tasks_when_enough_wake_ups_wait",
    ),
    Guard(
        "the places of a queue are counted for the task's own queue",
        _BROKER,
        '    queue = current_app.amqp.router.route({}, task)["queue"]\n',
        "    queue = current_app.amqp.queues[current_app.conf.task_default_queue]\n",
        f"{_REDIS}takes_the_ticks_of_other_tasks_when_enough_wake_ups_wait",
    ),
    Guard(
        "a drain checks once more before it ends",
        _SWEEPS,
        "        if slots.bounded() and sweep.claiming.leaves_work():\n",
        "        if False:\n",
        "test_slots.py",
    ),
    Guard(
        "a slot is free as soon as nothing more is claimed",
        "wallets/services/payouts/drain.py",
        "                self._on_last_look()\n",
        "                pass\n",
        "test_slots.py",
    ),
    Guard(
        "a message does not change the order of payouts",
        _SWEEPS,
        "not pay(bank=bank, seconds=settings.WITHDRAWAL_POLL)",
        "not drain.Drain(lambda now, find=find: find(now).filter(pk=transaction_id), "
        "bank=bank or get_bank(), seconds=1).run()",
        "test_tasks.py",
    ),
    Guard(
        "a single round of sweeps records its calls when it is stopped",
        "wallets/management/commands/run_sweeps.py",
        "        for signum in (signal.SIGTERM, signal.SIGINT):\n",
        "        for signum in () if once else (signal.SIGTERM, signal.SIGINT):\n",
        "test_run_sweeps.py::RunSweepsProcessTest::"
        "test_records_its_calls_and_ends_on_sigterm_during_a_single_round",
    ),
    Guard(
        "damaged withdrawals are put aside",
        _SWEEPS,
        "            damaged=aside,\n",
        "",
        "test_damaged_due.py",
    ),
    Guard(
        "damaged withdrawals raise an alarm",
        _SWEEPS,
        "    put_aside.withdrawals(set(sweep.claiming.damaged) - aside)\n",
        "",
        "test_damaged_due.py",
    ),
)
