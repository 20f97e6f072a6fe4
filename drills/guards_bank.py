"""Guards of the HTTP client and of the proof in its answers; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_PAYOUT = "wallets/services/payouts/payout.py"
_BANK = "wallets/utils/third_party.py"
_ANSWERS = "wallets/utils/bank/evidence.py"
_CALLS = "wallets/utils/bank/http_calls.py"
_EXCHANGE = "wallets/utils/bank/http_exchange.py"

BANK_GUARDS = (
    Guard(
        "no call inside a transaction",
        _BANK,
        '        refuse_inside_transaction("the bank was called")\n',
        "",
        "test_third_party.py::InsideTransactionTest",
    ),
    Guard(
        "the lease is checked before sending",
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
        "the right to send ends",
        _PAYOUT,
        "        + settings.WITHDRAWAL_LEASE\n",
        "        + 10 * settings.WITHDRAWAL_LEASE\n",
        "test_stateful.py",
    ),
    Guard(
        "reference from what the client holds",
        "wallets/services/withdrawals/reference.py",
        "    return _reference(str(withdrawal.idempotency_key), wallet_uuid, number)\n",
        '    key = f"{withdrawal.pk} {withdrawal.created_at}"\n'
        "    return _reference(key, wallet_uuid, number)\n",
        "test_restored_books.py",
    ),
    Guard(
        "the right to send ends before the stored lease",
        _PAYOUT,
        "        leased_at = clock.elapsed()\n        return moment.read(now)\n",
        "        read = moment.read(now)\n"
        "        leased_at = clock.elapsed()\n"
        "        return read\n",
        "test_execution_time.py::MomentTest",
    ),
    Guard(
        "execution time is the time of sending",
        _PAYOUT,
        "if answer.sent_at is None or sent.send_number > 1:",
        "if True:",
        "test_execution_time.py::MomentTest",
    ),
    Guard(
        "the attempt begins when its locks are taken",
        _PAYOUT,
        "    wallets = postings.lock_wallets((row.wallet_id for row in rows), wait=wait)\n"
        "    taken = read_clocks()\n",
        "    taken = read_clocks()\n"
        "    wallets = postings.lock_wallets((row.wallet_id for row in rows), wait=wait)\n",
        "test_execution_time.py",
    ),
    Guard(
        "answers are kept while the database is away",
        "wallets/utils/database/outage.py",
        "            if last or not is_away(error):\n",
        "            if True:\n",
        "test_recording.py::OutageTest",
    ),
    Guard(
        "waiting with unrecorded answers ends",
        "wallets/utils/database/outage.py",
        "        last = clock.elapsed() >= end(ends) or soft_limit.struck()\n",
        "        last = tries > 1000\n",
        "test_recording.py::OutageTest test_recording.py::SoftLimitTest",
    ),
    Guard(
        "answers are recorded however a sweep ends",
        "wallets/services/payouts/drain.py",
        "                self._record_rest()\n",
        "                pass\n",
        "test_recording.py::EndedSweepTest",
    ),
    Guard(
        "the soft limit waits for answers to be recorded",
        "wallets/utils/messaging/soft_limit.py",
        "    if _deferring or handler is None:\n",
        "    if True:\n",
        "test_recording.py::SoftLimitTest",
    ),
    Guard(
        "a claim checks its COMMIT when the database is back",
        _PAYOUT,
        "        if not written or not outage.is_away(error):\n",
        "        if True:\n",
        "test_recording.py::DoubtfulClaimTest",
    ),
    Guard(
        "deadline of the whole call",
        _CALLS,
        "            del self._under_way[call]\n            task.cancel()\n",
        "            del self._under_way[call]\n",
        "test_third_party.py::DeadlineTest::test_ends_a_call_that_nobody_answers",
    ),
    Guard(
        "connection kept only after an echo of the reference",
        _BANK,
        "        return answer, found.echoed and self._echoes\n",
        "        return answer, found.outcome is not Outcome.UNKNOWN\n",
        "test_third_party.py::EchoTest",
    ),
    Guard(
        "a new connection is silent before it is used",
        _CALLS,
        "        if not connection.is_quiet():\n",
        "        if False:\n",
        "test_third_party.py::EarlyAnswerTest test_third_party.py::EarlyTlsAnswerTest",
    ),
    Guard(
        "a new connection is observed for a moment",
        "wallets/utils/bank/connections.py",
        "            await made.listen(min(_SILENCE_SECONDS + took, _MAX_SILENCE_SECONDS))\n",
        "            pass\n",
        "test_third_party.py::EarlyAnswerTest",
    ),
    Guard(
        "no answer counts before the whole request is sent",
        _CALLS,
        "            if answer is not None and connection.unsent:\n",
        "            if False:\n",
        "test_third_party.py::EarlyAnswerTest",
    ),
    Guard(
        "an answer that another one follows counts only with an echo",
        _ANSWERS,
        "    if answer.followed and not echoed:\n",
        "    if False:\n",
        "test_third_party.py::FollowedAnswerTest",
    ),
    Guard(
        "a look-up that was not sent proves nothing",
        _BANK,
        "    if call is Call.LOOK_UP:\n",
        "    if False:\n",
        "test_bank_answers.py::LookUpNotSentTest",
    ),
    Guard(
        "a look-up's refusal names our reference",
        _ANSWERS,
        '        Word(_OK, "failed", 503, Outcome.REJECTED, echo=True),\n',
        '        Word(_OK, "failed", 503, Outcome.REJECTED),\n',
        "test_bank_contract.py::WholeWayTest",
    ),
    Guard(
        "a look-up's refusal has HTTP 200",
        _ANSWERS,
        '        Word(_OK, "failed", 503, Outcome.REJECTED, echo=True),\n',
        '        Word(_OK | {503}, "failed", 503, Outcome.REJECTED),\n',
        "test_bank_contract.py::WholeWayTest",
    ),
    Guard(
        "a redirect is not an answer",
        _ANSWERS,
        "_OK = frozenset({200})\n",
        "_OK = frozenset(range(200, 400))\n",
        "test_third_party.py::UnbelievableAnswerTest test_third_party.py::RedirectTest",
    ),
    Guard(
        "the bank's answer counts only as JSON",
        _ANSWERS,
        'if answer.media_type != "application/json" or len(answer.body)',
        "if len(answer.body)",
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
        "the answer is compared with the request",
        _ANSWERS,
        "key in ours and type(value) is type(ours[key]) and value == ours[key]\n",
        "key in ours\n",
        "test_third_party.py::UnbelievableAnswerTest",
    ),
    Guard(
        "a refusal counts only in its documented form",
        _ANSWERS,
        '        Word(_OK | {503}, "failed", 503, Outcome.REJECTED),\n',
        '        Word(_OK | {500, 503}, "failed", 503, Outcome.REJECTED),\n',
        "test_bank_answers.py::ExampleTest",
    ),
    Guard(
        "the bank's list is bounded",
        _BANK,
        "        limit = payment_list.MAX_BYTES\n",
        "        limit = 10**12\n",
        "test_bank_list.py::BankListTest::test_is_read_to_a_limit",
    ),
    Guard(
        "the bank's list has one deadline",
        _BANK,
        "connect, deadline=payment_list.DEADLINE_SECONDS, size=1\n",
        "connect, deadline=float(10**6), size=1\n",
        "test_bank_list.py::BankListTest::test_that_drips_is_left_at_its_deadline",
    ),
    Guard(
        "the bank's list is not unpacked",
        "wallets/utils/bank/payment_list.py",
        '    if result.encoding not in ("", "identity"):\n',
        "    if False:\n",
        "test_bank_list.py::BankListTest::test_is_not_unpacked",
    ),
    Guard(
        "invalid lines do not make the list unreadable",
        "wallets/utils/bank/payment_list.py",
        "    if _UUID.fullmatch(text):\n",
        "    if True:\n",
        "test_bank_list.py::LineTest",
    ),
    Guard(
        "payments are missing only in the time that the list covers",
        "wallets/services/operations/reconciliation.py",
        "        return None if first is None else (first + late, end)\n",
        "        return (first or end - timedelta(days=7)), end\n",
        "test_bank_statement.py::CoverTest",
    ),
    Guard(
        "a payment that may still be booked is not missing",
        "wallets/services/operations/reconciliation.py",
        "        end = min(self.until or self.asked_at, self.asked_at) - late\n",
        "        end = min(self.until or self.asked_at, self.asked_at)\n",
        "test_bank_statement.py::CoverTest",
    ),
    Guard(
        "lost payments are found by the references that they would get",
        "wallets/services/operations/reconciliation_rows.py",
        "            if reference in wanted:\n",
        "            if False:\n",
        "test_bank_statement.py::ForgottenTest",
    ),
    Guard(
        "the daily comparison raises alarms",
        "wallets/services/operations/reconciliation_alarms.py",
        "        if has_room and not _is_done(work):\n",
        "        if False:\n",
        "test_bank_statement.py::DailyRunTest",
    ),
    Guard(
        "no answer whose length can be read in two ways",
        _EXCHANGE,
        '                if self._all(b"content-length") and self._all(b"transfer-encoding"):\n',
        "                if False:\n",
        "test_http_exchange.py::AmbiguousAnswerTest",
    ),
    Guard(
        "connection with bytes left over not kept",
        _EXCHANGE,
        "keep=whole and not followed and not ended,\n",
        "keep=whole and not ended,\n",
        "test_http_exchange.py::ConnectionTest",
    ),
    Guard(
        "bytes on an idle connection end it",
        "wallets/utils/bank/connections.py",
        "        if not self._asked:\n            self.close()\n",
        "",
        "test_third_party.py::ConnectionTest",
    ),
    Guard(
        "the body is bounded",
        _EXCHANGE,
        "MAX_BODY_BYTES = 16 * 1024\n",
        "MAX_BODY_BYTES = 16 * 1024 * 1024\n",
        "test_third_party.py::UnbelievableAnswerTest",
    ),
)
