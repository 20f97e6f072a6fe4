"""Guards of the feed of events; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_CLOSURE = "events/services/closure.py"
_SEQUENCER = "events/services/sequencer.py"
_SOURCES = "events/services/sources.py"
_LOOK = "events/services/look.py"
_STORIES = "events/tests/test_interleavings.py"
_PASSES = "events/tests/test_sequencer.py"
_CONTENT = "events/services/content.py"
_RESTORED = "events/tests/test_restored.py"

EVENT_GUARDS = (
    Guard(
        "an id that was passed without a row is looked for",
        _SEQUENCER,
        "            gaps.keep(source, runs.without([(one.cursor + 1, top)], passed))\n",
        "            runs.without([(one.cursor + 1, top)], passed)\n",
        f"{_STORIES} {_PASSES}::LateCommitTest",
        POSTGRESQL,
    ),
    Guard(
        "a gap is never given up",
        "events/services/gaps.py",
        "            if not left:\n",
        "            if not left or row.seen_at < row.look_at:\n",
        "events/tests/test_gaps.py",
    ),
    Guard(
        "many gaps are looked at in turn",
        "events/services/gaps.py",
        '                changes["look_at"] = ',
        "                row.look_at = ",
        "events/tests/test_gaps.py",
    ),
    Guard(
        "a row that has its place gets no other",
        _LOOK,
        "    WHEN NOT ({is_event}) OR {has_place} THEN",
        "    WHEN NOT ({is_event}) THEN",
        f"{_STORIES} {_PASSES}",
    ),
    Guard(
        "a row of a later release stops the sequencer",
        _LOOK,
        "        if meaning == UNKNOWN:\n",
        "        if False:\n",
        f"{_PASSES}::UnknownRowTest",
    ),
    Guard(
        "a part of the rows is completed by what comes before them",
        _SEQUENCER,
        "    if is_part:\n",
        "    if False:\n",
        _STORIES,
    ),
    Guard(
        "a movement that was missed comes before the next one of its wallet",
        _CLOSURE,
        "            before = runs.merged(self._movements_before(fresh))\n",
        "            before: list[Run] = []\n",
        _STORIES,
    ),
    Guard(
        "a movement brings the change that it belongs to",
        _CLOSURE,
        "                or (change.movement and runs.contains(self._moved, change.movement))\n",
        "                or False\n",
        _STORIES,
    ),
    Guard(
        "a change brings its movement",
        _CLOSURE,
        "                    needed.add(change.movement)\n",
        "                    continue\n",
        "events/tests/test_order.py",
    ),
    Guard(
        "a wallet is created before anything happens to it",
        _CLOSURE,
        "        self._add_wallets()\n",
        "",
        _STORIES,
    ),
    Guard(
        "a pass of a backlog goes no further in the changes than in the movements",
        _CLOSURE,
        "            self._leave_out_of_reach()\n",
        "            pass\n",
        f"{_PASSES}::SequencerTest",
    ),
    Guard(
        "the order of a pass is that of the statements",
        _SEQUENCER,
        "ORDER BY rank_, moment, wallet_id, movement, step, source, id)",
        "ORDER BY rank_, moment, wallet_id, step, source, id)",
        "events/tests/test_order.py::StatementTest",
    ),
    Guard(
        "a clock that was set back moves no change before an earlier one",
        _SOURCES,
        "            MAX(COALESCE(moved_at, created_at)) OVER earlier AS lower_,\n",
        "            COALESCE(moved_at, created_at) AS lower_,\n",
        _STORIES,
    ),
    Guard(
        "a clock that was set forward moves no change after a later movement",
        _SOURCES,
        "CASE WHEN upper_ < lower_ THEN upper_ ELSE lower_ END AS moment",
        "lower_ AS moment",
        "events/tests/test_order.py",
    ),
    Guard(
        "a reader of a restored feed is told",
        "events/services/feed.py",
        "    if asked.after > end:\n",
        "    if False:\n",
        "events/tests/test_api_events.py",
    ),
    Guard(
        "a page of some types looks at a bounded number of events",
        "events/services/feed.py",
        "        end = min(end, asked.after + SCAN)\n",
        "        pass\n",
        "events/tests/test_api_events.py",
    ),
    Guard(
        "both events of a correction are named by the client's key",
        _CONTENT,
        'f"{_name_of(one.debit)} {row.kind}"',
        'f"{_name_of(row.transaction)} {row.kind}"',
        _RESTORED,
    ),
    Guard(
        "both events of a correction tell the client's key",
        _CONTENT,
        '                "idempotency_key": str(one.debit.idempotency_key),\n',
        "",
        _RESTORED,
    ),
    Guard(
        "another change of a wallet after a restore has another id",
        _CONTENT,
        '    return f"change {row.sequence} {said}", {\n',
        '    return f"change {row.sequence}", {\n',
        _RESTORED,
    ),
    Guard(
        "another time of a withdrawal after a restore has another id",
        _CONTENT,
        '        name += f" {instants.write(row.scheduled_for)}"\n',
        "        pass\n",
        _RESTORED,
    ),
    Guard(
        "verify_events reads what the feed tells",
        "events/services/verify.py",
        "    yield from _unreadable()\n",
        "",
        "events/tests/test_verify.py::VerifyTest",
    ),
    Guard(
        "a replay from a time reads a block that was noted after its search",
        "events/services/moments.py",
        "        begin, end = noted, feed.last_position()\n",
        "        begin, end = _noted(), feed.last_position()\n",
        "events/tests/test_moments.py::BlockTest",
    ),
    Guard(
        "a clock that was ahead delays no look at a gap for as long",
        "events/services/gaps.py",
        "        is_due |= Q(seen_at__gt=now - age, look_at__gt=now + age / 4)\n",
        "        del age\n",
        "events/tests/test_gaps.py",
    ),
    Guard(
        "a gap that such a clock has seen is looked at, and not for ever",
        "events/services/gaps.py",
        '                seen_at = changes["seen_at"] = min(row.seen_at, now)\n',
        "                seen_at = row.seen_at\n",
        "events/tests/test_gaps.py",
    ),
    Guard(
        "what was committed late waits, as /readyz says",
        "events/services/health.py",
        "    if late:\n",
        "    if False:\n",
        "events/tests/test_runner.py::HealthTest",
    ),
    Guard(
        "what was committed late waits, as verify_events says",
        "events/services/verify.py",
        "        found += count + _late(reading)\n",
        "        found += count\n",
        "events/tests/test_verify.py",
    ),
)
