"""Guards of the resolver: elapsed time, the bank's windows, reviews, damaged rows.

See `drills.guard`.
"""

from __future__ import annotations

from drills.guard import Guard

_BELIEF = "wallets/services/payouts/belief.py"
_LOOK_UP = "wallets/services/payouts/look_up.py"
_MOMENT = "wallets/services/payouts/moment.py"
_RESOLVER = "wallets/services/payouts/resolver.py"
_STEP = "wallets/services/payouts/step.py"
_TAKE = "wallets/services/payouts/take.py"
_WAITS = "wallets/services/payouts/waits.py"

TIME_GUARDS = (
    # --- when "not found" is proof ---
    Guard(
        "quiet period",
        _BELIEF,
        "    quiet = not until_quiet(attempt, abilities, asked)\n",
        "    quiet = True\n",
        "test_resolver.py::LookUpTest test_stateful.py",
    ),
    Guard(
        "quiet period covers the bank's booking time",
        _BELIEF,
        "return max(settings.WITHDRAWAL_QUIET_PERIOD, longest + abilities.booking_time)",
        "return max(settings.WITHDRAWAL_QUIET_PERIOD, longest)",
        "test_resolver.py::QuietPeriodTest",
    ),
    Guard(
        "quiet period by elapsed time",
        _BELIEF,
        "        passed = min(passed, by_database)\n",
        "        passed = by_database\n",
        "test_clock_steps.py::SteppedClockTest test_stateful.py",
    ),
    Guard(
        "quiet period by the database's clock as well",
        _BELIEF,
        "    if by_database >= 0:\n",
        "    if False:\n",
        "test_clock_steps.py::SteppedClockTest",
    ),
    Guard(
        "a clock that was set back is ignored",
        _BELIEF,
        "    if by_database >= 0:\n",
        "    if True:\n",
        "test_clock_steps.py::SteppedClockTest",
    ),
    Guard(
        "second 'not found'",
        _BELIEF,
        "        and attempt.not_found_count > 0\n"
        "        and not until_distant(attempt, abilities, asked)\n",
        "",
        "test_resolver.py::LookUpTest",
    ),
    Guard(
        "distance of the two answers",
        _BELIEF,
        "        and not until_distant(attempt, abilities, asked)\n",
        "",
        "test_clock_steps.py::SteppedClockTest",
    ),
    Guard(
        "the distance counts from the first 'not found'",
        _BELIEF,
        "passed = moment.waited_since(attempt, waits.NOT_FOUND)",
        "passed = moment.waited_since(attempt, waits.SENT)",
        "test_clock_steps.py::SteppedClockTest",
    ),
    Guard(
        "'not found' in a row",
        _LOOK_UP,
        "        known = waits.without_not_found(known)\n",
        "        not_found_count = attempt.not_found_count\n",
        "test_resolver.py::LookUpTest",
    ),
    Guard(
        "a look-up counts from its question",
        _LOOK_UP,
        "        event = _event_of(answer, attempt, abilities, check.taken, told)\n",
        "        object.__setattr__(check, 'taken', told)\n"
        "        event = _event_of(answer, attempt, abilities, check.taken, told)\n",
        "test_resolver.py::LookUpTest",
    ),
    Guard(
        "overtaken look-ups are dropped",
        _LOOK_UP,
        "        if attempt.checks != check.attempt.checks:\n",
        "        if False:\n",
        "test_resolver.py::TwoResolversTest",
    ),
    # --- elapsed time ---
    Guard(
        "only readings of one clock are subtracted",
        _WAITS,
        "passed = max(0.0, elapsed - elapsed_at) if name == clock else 0.0",
        "passed = max(0.0, elapsed - elapsed_at)",
        "test_waits.py test_clock_steps.py::OtherMachineTest",
    ),
    Guard(
        "a clock that goes back counts as standing still",
        _WAITS,
        "passed = max(0.0, elapsed - elapsed_at) if",
        "passed = abs(elapsed - elapsed_at) if",
        "test_waits.py",
    ),
    Guard(
        "a repeated send starts its waits again",
        _WAITS,
        "    again = begun(clock=clock, elapsed=elapsed, shown=shown)\n",
        "    again = {SENT: _observed(waits, event, clock, elapsed), SHOWN: {}}\n",
        "test_waits.py",
    ),
    Guard(
        "another boot is another clock",
        "wallets/utils/clock.py",
        'words = f"{boot} {namespace}',
        'words = f"{namespace}',
        "test_waits.py::MachineTest",
    ),
    Guard(
        "plans of another clock are ignored",
        _TAKE,
        "    return planned <= now or planned > now + look_up.longest_plan()\n",
        "    return planned <= now\n",
        "test_clock_steps.py::SteppedClockTest",
    ),
    Guard(
        "no review because of a clock's step",
        _STEP,
        "return agrees and moment.waited_since(attempt, waits.SENT) >= patience",
        "return agrees",
        "test_clock_steps.py::SteppedClockTest",
    ),
    Guard(
        "no check during a lease while the database's clock is ahead",
        _STEP,
        "    if until_lease_ends(attempt, withdrawal, moment):\n",
        "    if False:\n",
        "test_clock_steps.py::LiveSenderTest",
    ),
    # --- the bank's windows ---
    Guard(
        "look-up window",
        _BELIEF,
        "    return quiet and is_remembered(attempt, abilities, told)\n",
        "    return quiet\n",
        "test_clock_steps.py::LookUpWindowTest",
    ),
    Guard(
        "the window is judged when the answer is there",
        _BELIEF,
        "is_remembered(attempt, abilities, told)\n",
        "is_remembered(attempt, abilities, asked)\n",
        "test_clock_steps.py::LookUpWindowTest",
    ),
    Guard(
        "an operator is called when the look-up has forgotten",
        _LOOK_UP,
        "            ask_review(withdrawal, attempt, told.now, FORGOTTEN)\n",
        "            pass\n",
        "test_clock_steps.py::LookUpWindowTest",
    ),
    Guard(
        "a window is over when any clock says so",
        _MOMENT,
        "return max(self.waited_since(attempt, event), *by_clocks)",
        "return by_clocks[0]",
        "test_clock_steps.py::LookUpWindowTest test_clock_steps.py::DedupeWindowTest",
    ),
    Guard(
        "a window is judged by the clock of the host that sent",
        _MOMENT,
        "            by_clocks.append(self.host.timestamp() - shown_at)\n",
        "            pass\n",
        "test_clock_steps.py::DedupeWindowTest",
    ),
    Guard(
        "repeated sends only to a bank that dedupes",
        _STEP,
        "    if not abilities.dedupes or age + margin >= abilities.dedupe_window:\n",
        "    if False:\n",
        "test_resolver.py::BareBankTest",
    ),
    Guard(
        "dedupe window",
        _STEP,
        "    if not abilities.dedupes or age + margin >= abilities.dedupe_window:\n",
        "    if not abilities.dedupes:\n",
        "test_resolver.py::ResendTest test_stateful.py",
    ),
    Guard(
        "dedupe window from the first send",
        _STEP,
        "moment.age(attempt, waits.first_send(attempt.waits), attempt.started_at)",
        "moment.age(attempt, waits.SENT, attempt.last_sent_at)",
        "test_clock_steps.py::DedupeWindowTest",
    ),
    # --- reviews ---
    Guard(
        "an operator is called for a bank that stays silent",
        _STEP,
        "    if attempt.sends > 1 and age >= settings.WITHDRAWAL_REVIEW_AFTER:\n",
        "    if False:\n",
        "test_resolver.py::ResendTest",
    ),
    Guard(
        "nothing is sent during a review",
        _STEP,
        "    if withdrawal.state is State.NEEDS_REVIEW:\n",
        "    if False:\n",
        "test_resolver.py::ResendTest",
    ),
    Guard(
        "needs_review for a bare bank",
        _TAKE,
        "        look_up.ask_review(withdrawal, attempt, now)\n",
        "",
        "test_resolver.py::BareBankTest",
    ),
    # --- damaged rows ---
    Guard(
        "a value of another type is damage",
        "wallets/utils/damaged.py",
        "LookupError, ValueError, TypeError),\n",
        "LookupError, ValueError),\n",
        "test_damaged_due.py test_damaged_rows.py",
    ),
    Guard(
        "a damaged row does not stop other checks",
        _RESOLVER,
        "        with contextlib.suppress(*DAMAGED):\n            taken = self._take_of",
        "        with contextlib.suppress():\n            taken = self._take_of",
        "test_damaged_rows.py",
    ),
    Guard(
        "money of an open attempt is held",
        _TAKE,
        "        if attempt.open and withdrawal.state not in _HELD:\n",
        "        if False:\n",
        "test_damaged_rows.py",
    ),
    Guard(
        "alarm for a damaged row",
        _RESOLVER,
        "        damage.report(",
        "        str(",
        "test_damaged_rows.py",
    ),
    Guard(
        "a time that is no number, negative or without end is refused",
        "wallet/environment.py",
        "    if not 0 <= value < math.inf:\n",
        "    if False:\n",
        "test_settings.py::TimesTest",
    ),
    Guard(
        "a number is read as it is written",
        "wallet/environment.py",
        "{bool: switch, int: whole, float: number}",
        "{bool: switch, int: whole, float: float}",
        "test_settings.py::TimesTest",
    ),
    Guard(
        "limits are refused if one is not a number",
        "wallets/checks.py",
        "if not low < high  # also",
        "if low >= high  # not",
        "test_checks.py::LimitsTest",
    ),
    Guard(
        "damaged rows are checked seldom",
        "wallets/services/payouts/attempt.py",
        ".update(next_check_at=until)",
        ".update()",
        "test_damaged_rows.py",
    ),
)
