"""Guards of what a refused client or operator is told; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_MESSAGES = "test_api_messages.py::"
_QUERIES = "test_api_queries.py::QueryTest::test_"

MESSAGE_GUARDS = (
    Guard(
        "a value of a query is UTF-8",
        "wallets/views/http/query.py",
        "        return value.decode()\n",
        '        return value.decode("utf-8", "replace")\n',
        f"{_QUERIES}that_is_no_utf_8_is_refused_by_the_name_of_its_parameter "
        f"{_QUERIES}finds_no_reference_that_it_does_not_name",
    ),
    Guard(
        "a name in a query that is no UTF-8 is told as it was sent",
        "wallets/views/http/query.py",
        "            known_as = quote_from_bytes(name)\n",
        '            known_as = name.decode("utf-8", "replace")\n',
        f"{_QUERIES}names_a_parameter_that_is_no_utf_8_as_it_was_sent",
    ),
    Guard(
        "a query has a bounded number of parameters",
        "wallets/views/http/query.py",
        "    if len(parts) > settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:\n",
        "    if False:\n",
        "test_api_bad_input.py::BadInputTest"
        "::test_refuses_more_than_a_thousand_parameters",
    ),
    Guard(
        "a wallet in upper case is refused with the case that is expected",
        "wallets/serializers/strict.py",
        "as text in lower case.",
        "as text.",
        f"{_MESSAGES}WalletFormTest",
    ),
    Guard(
        "a repeated name is told",
        "wallets/utils/strict_json.py",
        "has the name {_shown(again)} twice.",
        "has a name twice.",
        f"{_MESSAGES}RepeatedNameTest",
    ),
    Guard(
        "a repeated name is cut, and shown without what cannot be seen",
        "wallets/utils/strict_json.py",
        "    return json.dumps(cut, ensure_ascii=not cut.isprintable())\n",
        "    return json.dumps(name, ensure_ascii=False)\n",
        f"{_MESSAGES}RepeatedNameTest",
    ),
    Guard(
        "a body that is too large is refused with its own limit",
        "wallets/views/http/body.py",
        "        raise too_large(settings.API_MAX_BODY_BYTES)\n",
        "        raise too_large(settings.API_MAX_BULK_BODY_BYTES)\n",
        f"{_MESSAGES}LargeBodyTest",
    ),
    Guard(
        "a wallet that cannot be closed says what is in the way",
        "wallets/services/wallets/life.py",
        "wallet=wallet.pk)\n    left = list(",
        ")\n    left = list(",
        f"{_MESSAGES}ClosingTest",
    ),
    Guard(
        "a refusal to close counts a bounded number of withdrawals",
        "wallets/services/wallets/life.py",
        "[: MOST_COUNTED + 1])\n",
        "[: 2 * MOST_COUNTED])\n    left = left[:MOST_COUNTED]\n",
        f"{_MESSAGES}ClosingTest",
    ),
)
