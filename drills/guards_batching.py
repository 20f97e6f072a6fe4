"""Guards of the API's batches of requests; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_BATCHING = "wallets/utils/batching.py"
_APPLICATION = "wallets/asgi/application.py"
_TESTS = "test_batching.py::BatcherTest::test_"

BATCHING_GUARDS = (
    Guard(
        "the batcher asks no timer of the loop for its time",
        _BATCHING,
        "        if when == self._looks_at:\n",
        "        if self._timer is not None and self._timer.when() < 0:\n",
        f"{_TESTS}takes_calls_while_its_timer_is_almost_due",
    ),
    Guard(
        "a failing call does not fail its batch",
        _BATCHING,
        "        elif isinstance(error, self.work.concerns_all) or len(batch) == 1:\n",
        "        elif True:\n",
        f"{_TESTS}keeps_a_failing_call_from_failing_the_others",
    ),
    Guard(
        "a call that waits for a lock runs alone",
        _BATCHING,
        "                if self.work.is_busy(answer):\n",
        "                if False:\n",
        f"{_TESTS}answers_others_while_one_waits_for_a_lock",
    ),
    Guard(
        "a batch that hangs does not delay the next one",
        _BATCHING,
        "            return self._may_begin_at\n",
        '            return float("inf")\n',
        f"{_TESTS}begins_beside_a_batch_that_hangs",
    ),
    Guard(
        "the number of running batches is bounded",
        _BATCHING,
        "        if self._running >= MAX_RUNNING:\n",
        "        if False:\n",
        f"{_TESTS}has_a_bounded_number_of_batches_at_work",
    ),
    Guard(
        "the number of waiting calls is bounded",
        _BATCHING,
        "        if len(self._waiting) >= MAX_WAITING:\n",
        "        if False:\n",
        f"{_TESTS}refuses_more_than_can_wait_and_does_nothing",
    ),
    Guard(
        "the number of calls that wait for locks is bounded",
        _BATCHING,
        "        if self._alone >= MAX_WAITING:\n",
        "        if False:\n",
        f"{_TESTS}refuses_more_than_can_wait_for_locks",
    ),
    Guard(
        "a caller that goes away cancels nothing",
        _BATCHING,
        "    if call.answer.done():\n        return\n",
        "",
        f"{_TESTS}cancels_nothing_for_a_caller_that_goes_away",
    ),
    Guard(
        "a path with an encoded slash goes to Django",
        _APPLICATION,
        "        if match is None or origin is None or _has_encoded_slash(scope):\n",
        "        if match is None or origin is None:\n",
        "test_asgi_same.py test_asgi_application.py",
    ),
    Guard(
        "both transports check the Host",
        _APPLICATION,
        "        if match is None or origin is None or _has_encoded_slash(scope):\n",
        "        if match is None or _has_encoded_slash(scope):\n",
        "test_asgi_same.py test_asgi_suite.py",
    ),
)
