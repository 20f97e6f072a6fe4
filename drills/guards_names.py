"""Guards of the names of webhooks that are looked up slowly; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_NAMES = "events/tests/test_webhook_names.py"

NAME_GUARDS = (
    Guard(
        "a tenant's slow names keep one thread",
        "events/services/webhooks/checks.py",
        "    with TURNS.of(tenant):\n        check_target",
        "    if True:\n        check_target",
        f"{_NAMES}::SlowNamesTest::test_are_looked_up_one_at_a_time",
    ),
    Guard(
        "a quick name is waited for",
        "events/utils/names.py",
        "            left = max(0.0, began + QUICK_SECONDS - clock.elapsed())\n",
        "            left = 0.0\n",
        f"{_NAMES}::TurnsTest::test_comes_after_a_name_that_is_found_soon",
    ),
    Guard(
        "a name that was not looked up is not refused for good",
        "events/views/resolver.py",
        "    except ResolverBusy as error:\n",
        "    except ZeroDivisionError as error:\n",
        f"{_NAMES}::SlowNamesTest::test_are_no_fault_of_a_name_that_finds_no_place",
    ),
)
