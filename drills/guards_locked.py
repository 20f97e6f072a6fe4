"""Guards of strangers of a locked row: nobody else waits; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_RESOLVER = "wallets/services/payouts/resolver.py"
_TESTS = "test_busy_wallets.py"

LOCKED_GUARDS = (
    Guard(
        "a locked wallet does not delay other payouts",
        "wallets/services/payouts/claiming.py",
        "some, bank=self._bank, limit=limit, now=begins, wait=wait",
        "some, bank=self._bank, limit=limit, now=begins",
        f"{_TESTS}::BusyWalletTest::"
        "test_does_not_delay_the_claim_and_payment_of_alices_payout",
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
        "            count += self._do(~of_busy, wait=False)[0]\n",
        "",
        f"{_TESTS}::BusyOutcomeTest",
        POSTGRESQL,
    ),
    Guard(
        "a locked wallet that stays busy is waited for",
        _RESOLVER,
        "            count += self._do(of_busy, wait=True)[0]\n",
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
