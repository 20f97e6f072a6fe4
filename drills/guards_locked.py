"""Guards of strangers of a locked row: nobody else waits; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_RESOLVER = "wallets/services/payouts/resolver.py"
_CLAIMING = "wallets/services/payouts/claiming.py"
_BUSY = "wallets/services/payouts/busy_wallets.py"
_TESTS = "test_busy_wallets.py"
_MANY = "test_many_busy_wallets.py"

LOCKED_GUARDS = (
    Guard(
        "a locked wallet does not delay other payouts",
        _CLAIMING,
        "                wait=wait,\n                patience=0,\n",
        "                patience=0,\n",
        f"{_TESTS}::BusyWalletTest::"
        "test_does_not_delay_the_claim_and_payment_of_alices_payout",
        POSTGRESQL,
    ),
    Guard(
        "more locked wallets than threads do not stop other payouts",
        _CLAIMING,
        "rows.exclude(wallet__in=self.busy.left_out())",
        "rows.exclude(wallet__in=self.busy.waited_for())",
        f"{_MANY}::ManyBusyWalletsTest::test_do_not_delay_alices_payout",
        POSTGRESQL,
    ),
    Guard(
        "locked wallets that are not left out are tried at an interval",
        _CLAIMING,
        "        if claimed.busy and not more:\n",
        "        if False:\n",
        f"{_MANY}::ManyBusyWalletsTest::"
        "test_beyond_the_most_that_are_left_out_are_tried_at_an_interval",
        POSTGRESQL,
    ),
    Guard(
        "a wallet that was locked is claimed when it is free",
        _BUSY,
        "        self._left_out -= asked - locked\n",
        "",
        f"{_TESTS}::BusyWalletsTest",
    ),
    Guard(
        "a sweep asks at an interval which locked wallets are free",
        _BUSY,
        "        if not asked or now < self._asks_at:\n",
        "        if not asked:\n",
        f"{_TESTS}::BusyWalletsTest",
    ),
    Guard(
        "the list of locked wallets has an end",
        _BUSY,
        "sorted(set(wallets) - self._left_out)[:room]",
        "sorted(set(wallets) - self._left_out)",
        f"{_TESTS}::BusyWalletsTest",
    ),
    Guard(
        "a sweep ends one lock time-out after its claims",
        _CLAIMING,
        "                wait=wait,\n                patience=0,\n",
        "                wait=wait,\n",
        f"{_TESTS}::StubbornLockTest",
        POSTGRESQL,
    ),
    Guard(
        "a sweep ends one lock time-out after it has marked frozen wallets",
        "wallets/services/payouts/waiting.py",
        "partial(_begin_some, due), patience=0)",
        "partial(_begin_some, due))",
        f"{_TESTS}::StubbornLockTest",
        POSTGRESQL,
    ),
    Guard(
        "an answer about a locked wallet is kept when the sweep ends",
        "wallets/services/payouts/drain.py",
        "        kept.keep(self._put_off)\n",
        "",
        f"{_TESTS}::StubbornLockTest",
        POSTGRESQL,
    ),
    Guard(
        "a sweep does not wait for the answers of an earlier one",
        "wallets/services/payouts/drain.py",
        "                    kept.wait(max(0.0, ends - clock.elapsed()))\n",
        "                    kept.finish()\n",
        f"{_TESTS}::StubbornLockTest",
        POSTGRESQL,
    ),
    Guard(
        "a round of look-ups waits once for the answer to a second request",
        _RESOLVER,
        "            patience=0 if wait else math.inf,\n",
        "",
        f"{_TESTS}::StubbornLockTest",
        POSTGRESQL,
    ),
    Guard(
        "a kept answer that is given up is logged",
        "wallets/services/payouts/kept.py",
        "                log_unrecorded(sent, answer)\n",
        "                pass\n",
        f"{_TESTS}::StubbornLockTest",
        POSTGRESQL,
    ),
    Guard(
        "a child of a worker records what is kept before it ends",
        "wallet/celery.py",
        "    kept.finish()\n",
        "",
        "test_kept.py::StoppedProcessTest::test_lets_a_worker_record_it_first",
        POSTGRESQL,
    ),
    Guard(
        "a process waits for the thread of kept answers when it ends",
        "wallets/services/payouts/kept.py",
        'name="kept answers").start()',
        'name="kept answers", daemon=True).start()',
        "test_kept.py::StoppedProcessTest::"
        "test_lets_a_worker_of_one_process_record_it_first",
        POSTGRESQL,
    ),
    Guard(
        "a locked wallet does not stop payouts at the end of its freeze",
        "wallets/services/payouts/waiting.py",
        "    if not postings.lock_wallets([wallet_id], wait=False):\n",
        "    if not postings.lock_wallets([wallet_id]):\n",
        f"{_TESTS}::BusyWalletTest",
        POSTGRESQL,
    ),
    Guard(
        "a locked wallet does not delay other look-ups",
        _RESOLVER,
        "        count, busy = self._do(Q(), wait=False)\n",
        "        count, busy = self._do(Q(), wait=True)\n",
        f"{_TESTS}::BusyOutcomeTest",
        POSTGRESQL,
    ),
    Guard(
        "a locked withdrawal does not delay other look-ups",
        "wallets/services/payouts/outcome.py",
        "lock_rows(rows, skip_locked=not wait)",
        "lock_rows(rows)",
        f"{_TESTS}::BusyWithdrawalTest",
        POSTGRESQL,
    ),
    Guard(
        "locked rows do not take the places of others",
        _RESOLVER,
        "        while more and len(busy) < MAX_LEFT_OUT and clock.elapsed() < ends:\n",
        "        while False:\n",
        f"{_TESTS}::BusyOutcomeTest",
        POSTGRESQL,
    ),
    Guard(
        "nor do rows of more locked wallets than a round takes",
        _RESOLVER,
        "            done, more = self._do(others, wait=False)\n",
        "            done, more = self._do(others, wait=False)[0], set()\n",
        f"{_MANY}::ManyBusyOutcomesTest::test_do_not_delay_the_look_up_of_alices",
        POSTGRESQL,
    ),
    Guard(
        "the search for others than locked wallets has an end",
        _RESOLVER,
        " and clock.elapsed() < ends:\n",
        ":\n",
        f"{_MANY}::ManyBusyOutcomesTest::"
        "test_are_left_to_the_next_round_after_its_time",
        POSTGRESQL,
    ),
    Guard(
        "a locked wallet that stays busy is waited for",
        _RESOLVER,
        "            count += self._do(Q(transaction__wallet__in=busy), wait=True)[0]\n",
        "",
        f"{_TESTS}::BusyOutcomeTest",
        POSTGRESQL,
    ),
    Guard(
        "a round waits for locked rows once",
        _RESOLVER,
        "            if wait:\n                return [], set()\n",
        "",
        f"{_TESTS}::BusyOutcomeTest",
        POSTGRESQL,
    ),
    Guard(
        "a lock that nothing can skip does not stop other look-ups",
        _RESOLVER,
        "        return run_unless_locked(work)\n",
        "        return run_in_transaction(work)\n",
        f"{_TESTS}::BusyAttemptTest",
        POSTGRESQL,
    ),
    Guard(
        "a locked wallet does not delay the record of other look-ups",
        _RESOLVER,
        "        answers = self._record_found(answers, wait=False)\n",
        "",
        f"{_TESTS}::BusyOutcomeTest",
        POSTGRESQL,
    ),
    Guard(
        "a locked wallet does not delay the record of other second requests",
        _RESOLVER,
        "        results = self._record_sent(results, wait=False)\n",
        "",
        f"{_TESTS}::BusySecondRequestTest",
        POSTGRESQL,
    ),
    Guard(
        "an answer about a locked wallet does not end the round",
        "wallets/services/payouts/look_up.py",
        "    busy = run_unless_locked(\n",
        "    busy = __import__('wallets.utils.database.transactions').utils.database"
        ".transactions.run_in_transaction(\n",
        f"{_TESTS}::LockedAnswerTest",
        POSTGRESQL,
    ),
)
