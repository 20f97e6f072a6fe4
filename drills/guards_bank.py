"""Guards of the HTTP client and of what its answers prove; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_PAYOUT = "wallets/services/payout.py"
_BANK = "wallets/utils/third_party.py"
_CALLS = "wallets/utils/http_calls.py"

BANK_GUARDS = (
    Guard(
        "no call inside a transaction",
        _BANK,
        '        refuse_inside_transaction("the bank was called")\n',
        "",
        "test_third_party.py::InsideTransactionTest",
    ),
    Guard(
        "lease looked at before sending",
        _CALLS,
        "now >= call.send_before or ",
        "",
        "test_third_party.py::NotSentTest",
    ),
    Guard(
        "time for the whole call within the lease",
        _PAYOUT,
        "        - 2 * settings.THIRD_PARTY_DEADLINE,\n",
        "        + 2 * settings.THIRD_PARTY_DEADLINE,\n",
        "test_payout.py::ClaimTest",
    ),
    Guard(
        "right to send ends at all",
        _PAYOUT,
        "        + settings.WITHDRAWAL_LEASE\n",
        "        + 10 * settings.WITHDRAWAL_LEASE\n",
        "test_stateful.py",
    ),
    Guard(
        "reference from what the client holds",
        "wallets/services/reference.py",
        'name = f"withdrawal {withdrawal.idempotency_key} {number}"',
        'name = f"withdrawal {withdrawal.pk} {withdrawal.created_at} {number}"',
        "test_restored_books.py",
    ),
    Guard(
        "right to send ends before the lease in the books",
        _PAYOUT,
        "        leased_at = clock.elapsed()\n        return now or database_now()\n",
        "        moment = now or database_now()\n"
        "        leased_at = clock.elapsed()\n"
        "        return moment\n",
        "test_execution_time.py::MomentTest",
    ),
    Guard(
        "execution is when the payment left",
        _PAYOUT,
        "if answer.sent_at is None or sent.send_number > 1:",
        "if True:",
        "test_execution_time.py::MomentTest",
    ),
    Guard(
        "the attempt begins when its locks are taken",
        _PAYOUT,
        "    wallets = ledger.lock_wallets(row.wallet_id for row in rows)\n"
        "    now = read_clocks()\n",
        "    now = read_clocks()\n"
        "    wallets = ledger.lock_wallets(row.wallet_id for row in rows)\n",
        "test_execution_time.py",
    ),
    Guard(
        "answers kept while the database is away",
        "wallets/utils/outage.py",
        "            if last or not is_away(error):\n",
        "            if True:\n",
        "test_recording.py::OutageTest",
    ),
    Guard(
        "answers given up at last",
        "wallets/utils/outage.py",
        "        last = clock.elapsed() >= _end(ends) or soft_limit.struck()\n",
        "        last = tries > 1000\n",
        "test_recording.py::OutageTest test_recording.py::SoftLimitTest",
    ),
    Guard(
        "answers recorded whatever ends a sweep",
        "wallets/services/drain.py",
        "                self._record_rest()\n",
        "                pass\n",
        "test_recording.py::EndedSweepTest",
    ),
    Guard(
        "soft limit put off while answers are in hand",
        "wallets/utils/soft_limit.py",
        "    if _deferring or handler is None:\n",
        "    if True:\n",
        "test_recording.py::SoftLimitTest",
    ),
    Guard(
        "own COMMIT looked for when the database is back",
        _PAYOUT,
        "        if not written or not outage.is_away(error):\n",
        "        if True:\n",
        "test_recording.py::DoubtfulClaimTest",
    ),
    Guard(
        "deadline of the whole call",
        _CALLS,
        "            if call.ends > now:\n                return\n",
        "            return\n",
        "test_third_party.py::DeadlineTest::test_ends_a_call_that_nobody_answers",
    ),
    Guard(
        "connection kept only after the bank's own word",
        _BANK,
        "return answer, answer.outcome is not Outcome.UNKNOWN",
        "return answer, True",
        "test_third_party.py::ConnectionTest",
    ),
    Guard(
        "redirects are no answers",
        _BANK,
        "if http_status == 200 and verdict == _SUCCESS:",
        "if http_status < 400 and verdict == _SUCCESS:",
        "test_third_party.py::UnbelievableAnswerTest test_third_party.py::RedirectTest",
    ),
    Guard(
        "the bank's word only as JSON",
        _BANK,
        '    if result.media_type != "application/json":\n',
        "    if False:\n",
        "test_third_party.py::UnbelievableAnswerTest",
    ),
    Guard(
        "duplicate keys refused",
        "wallets/utils/strict_json.py",
        "    if len(result) != len(pairs):\n",
        "    if False:\n",
        "test_strict_json.py test_third_party.py::UnbelievableAnswerTest",
    ),
    Guard(
        "answer compared with the question",
        _BANK,
        "        if key not in ours or type(value) is not type(ours[key])"
        " or value != ours[key]:\n",
        "        if key not in ours:\n",
        "test_third_party.py::UnbelievableAnswerTest",
    ),
    Guard(
        "refusal only in the bank's own words",
        _BANK,
        "if http_status in (200, 503) and verdict == _FAILED:",
        'if http_status >= 500 or verdict["data"] == "failed":',
        "test_third_party.py::UnbelievableAnswerTest",
    ),
    Guard(
        "body bounded",
        "wallets/utils/http_answer.py",
        "MAX_BODY_BYTES = 16 * 1024\n",
        "MAX_BODY_BYTES = 16 * 1024 * 1024\n",
        "test_third_party.py::UnbelievableAnswerTest",
    ),
)
