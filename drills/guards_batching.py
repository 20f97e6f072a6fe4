"""Guards of the API's batches of requests; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_BATCHING = "wallets/utils/batching.py"
_WAITERS = "wallets/utils/waiters.py"
_APPLICATION = "wallets/asgi/application.py"
_TESTS = "test_batching.py::BatcherTest::test_"
_WAITING = "test_waiters.py::WaitersTest::test_"

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
        "a bulk request does not wait for another one",
        _BATCHING,
        "        if self._running and self.max_batch > 1:\n",
        "        if self._running:\n",
        f"{_TESTS}waits_for_no_other_batch_of_one_call",
    ),
    Guard(
        "the number of calls that wait for one resource is bounded",
        _WAITERS,
        "any(len(q) >= MAX_BEHIND for q in behind)",
        "False",
        f"{_WAITING}are_refused_when_too_many_wait_for_the_same",
    ),
    Guard(
        "a call waits only for calls that are at work",
        _WAITERS,
        "                self._behind[resource].append(wait)\n                return\n",
        "                self._behind[resource].append(wait)\n"
        "                for one in wait.resources:\n"
        "                    self._behind.setdefault(one, [])\n"
        "                return\n",
        f"{_WAITING}do_not_wait_for_those_that_have_no_thread_yet",
    ),
    Guard(
        "calls for one resource keep their order",
        _WAITERS,
        'sorted(itertools.chain(*queues), key=attrgetter("came"))',
        "itertools.chain(*queues[::-1])",
        f"{_WAITING}keep_their_order_behind_one_with_several_resources",
    ),
    Guard(
        "a wait in vain ends the waits behind it",
        _WAITERS,
        "        in_vain = isinstance(error, self.concerns_all)\n",
        "        in_vain = False\n",
        f"{_WAITING}are_answered_when_one_before_them_has_waited_in_vain",
    ),
    Guard(
        "a call is not refused for what it does not wait for",
        _WAITERS,
        "too_long or ended.resources <= one.resources",
        "True",
        f"{_WAITING}are_tried_if_it_waited_for_something_else_too",
    ),
    Guard(
        "nobody waits for several lock time-outs",
        _WAITERS,
        "too_long or ended.resources <= one.resources",
        "ended.resources <= one.resources",
        f"{_WAITING}are_tried_if_it_waited_for_something_else_too",
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
        _WAITERS,
        "        if self._count >= MAX_WAITING or any(",
        "        if any(",
        f"{_TESTS}refuses_more_than_can_wait_for_locks",
    ),
    Guard(
        "a caller that goes away cancels nothing",
        _WAITERS,
        "    if answer.done():\n        return\n",
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
