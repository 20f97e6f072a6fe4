"""Guards of what the console shows, and to whom; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

CONSOLE_GUARDS = (
    Guard(
        "a reference is shown to who may see wallets",
        "console/templates/console/_reference.html",
        '{% if wallet.reference and request.user|may_see:"wallet" %}',
        "{% if wallet.reference %}",
        "console/tests/test_wallets.py::ReferenceTest",
    ),
    Guard(
        "a page of a list that does not exist is named",
        "console/forms.py",
        "        if text and found is None:\n",
        "        if False:\n",
        "console/tests/test_wallets.py::InputTest",
    ),
    Guard(
        "the console judges a reference as the API does",
        "console/forms.py",
        '        return check(text) if text else ""\n',
        "        return text\n",
        "console/tests/test_wallets.py::InputTest",
    ),
    Guard(
        "a reference that is a UUID is found",
        "console/views/wallets.py",
        "        if not found.rows and (uuid := ",
        "        if (uuid := ",
        "console/tests/test_wallets.py::WalletListTest",
    ),
    Guard(
        "a reference is looked up at once",
        "wallets/services/reads/wallet_list.py",
        "        found=Found.IN_WINDOWS if asked.reference is None else Found.AT_ONCE,\n",
        "        found=Found.IN_WINDOWS,\n",
        "console/tests/test_wallet_plans.py",
    ),
    Guard(
        "a movement of an attempt is not made by who asked for the withdrawal",
        "wallets/services/reads/actors.py",
        '            row.actor = made.get(key, "")\n',
        "            row.actor = row.transaction.actor\n",
        "test_movement_actors.py",
    ),
    Guard(
        "no request with a body is redirected",
        "wallets/views/http/without_slash.py",
        "        if request.method not in _METHODS:\n",
        "        if False:\n",
        "console/tests/test_paths.py",
    ),
    Guard(
        "the axis of a wallet's plot is in units of its currency",
        "console/plots.py",
        "short(in_units(value, currency))",
        "short(value)",
        "console/tests/test_plots.py",
    ),
    Guard(
        "an alarm is read with the currency of its amount",
        "wallets/services/operations/alarm.py",
        'select_related("transaction__wallet").only(',
        'select_related("transaction").only(',
        "console/tests/test_money.py",
    ),
    Guard(
        "a worker's host is told to nobody",
        "wallets/utils/actors.py",
        '    return WORKER if actor.startswith(f"{WORKER} ") else actor\n',
        "    return actor\n",
        "test_movement_actors.py events/tests/test_sequencer.py::SequencerTest",
    ),
)
