"""Guards of bodies and answers whose clients are slow; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_DEADLINES = "test_asgi_deadlines.py::DeadlinesTest::test_"
_UNREAD = "test_asgi_unread.py::"

ANSWER_GUARDS = (
    Guard(
        "a body has a deadline",
        "wallets/asgi/deadlines.py",
        "self._late_at = _now() + self._owner.limits.receive_seconds",
        "self._late_at = _now() + 3600",
        f"{_DEADLINES}never_takes_a_part_for_the_whole",
    ),
    Guard(
        "an answer has a deadline",
        "wallets/asgi/deadlines.py",
        "late_at = _now() + self._owner.limits.send_seconds",
        "late_at = _now() + 3600",
        f"{_DEADLINES}is_not_blocked_by_a_client_that_reads_no_answer",
    ),
    Guard(
        "so many bytes of incomplete bodies are held",
        "wallets/asgi/deadlines.py",
        "        if self._owner.held_bytes > self._owner.limits.held_bytes:\n",
        "        if False:\n",
        f"{_DEADLINES}holds_a_bounded_number_of_bytes",
    ),
    Guard(
        "so many requests wait for a thread",
        "wallets/asgi/bounded.py",
        '        if self.in_hand >= self.most and scope["path"] not in NEVER_REFUSED:\n',
        "        if False:\n",
        f"{_DEADLINES}has_a_bounded_number_of_requests",
    ),
    Guard(
        "a health check is never refused",
        "wallets/asgi/bounded.py",
        ' and scope["path"] not in NEVER_REFUSED',
        "",
        f"{_DEADLINES}has_a_bounded_number_of_requests",
    ),
    Guard(
        "an answer of Django that nobody reads holds no place",
        "wallets/asgi/django.py",
        "    return MAX_KEPT_BYTES if is_short else PART_BYTES\n",
        "    return -1\n",
        f"{_UNREAD}UnreadAnswerTest::test_holds_no_place",
    ),
    Guard(
        "an answer without an end is not held as a whole",
        "wallets/asgi/django.py",
        '            if len(self.body) + len(message["body"]) <= self._room:\n',
        "            if True:\n",
        f"{_UNREAD}UnreadAnswerTest::test_holds_its_place_if_it_is_made_while_it_is_read",
    ),
    Guard(
        "so many bytes of unread answers are held",
        "wallets/asgi/unread.py",
        "        while self.held_bytes > self._most_bytes:\n",
        "        while False:\n",
        f"{_UNREAD}MemoryTest::test_the_answer_that_waits_longest_is_cut_off",
    ),
    Guard(
        "the bytes of an answer that was cut off are given back",
        "wallets/asgi/unread.py",
        "            body.clear()\n",
        "",
        f"{_UNREAD}MemoryTest::test_the_answer_that_waits_longest_is_cut_off",
    ),
    Guard(
        "an answer that is being read is not cut off",
        "wallets/asgi/unread.py",
        "        self._sizes[task] = self._sizes.pop(task)\n",
        "",
        f"{_UNREAD}MemoryTest::test_an_answer_that_is_being_read_is_not_cut_off",
    ),
    Guard(
        "readiness needs no thread of Django",
        "wallets/views/health.py",
        "    operations = (GetReady(),)\n",
        "    operations = ()\n"
        "    get = lambda self, request: self.serve(GetReady(), request)\n",
        "test_asgi_application.py::TransportTest::test_uses_django_for_no_operation",
    ),
    Guard(
        "a broker that does not answer delays no read",
        "wallets/views/health.py",
        "    always_waits = True\n",
        "",
        "test_asgi_application.py::ThreadsTest"
        "::test_that_wait_for_locks_serve_no_other_requests",
    ),
    Guard(
        "the line about an answer that is given up names the payment",
        "wallet/logs.py",
        ', "reference", "outcome"),',
        "),",
        "test_logs.py::LogTest test_house_rules.py::LogLineTest",
    ),
    Guard(
        "a wallet's tenant can be the tenant of a key",
        "wallets/management/arguments.py",
        "    if not TENANT.fullmatch(text):\n",
        "    if not 0 < len(text) <= MAX_TENANT or text != text.strip():\n",
        "test_commands_record.py::CreateWalletCommandTest",
    ),
    Guard(
        "the server keeps no connection longer than it can",
        "wallet/serve.py",
        ", most=MOST_QUIET_SECONDS)",
        ")",
        "test_deployment.py",
    ),
)
