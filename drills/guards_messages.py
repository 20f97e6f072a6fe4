"""Guards of what a refused client or operator is told; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_ARGUMENTS = "test_commands_arguments.py::"
_LISTEN = "events/tests/test_webhook_commands.py::ListenTest::test_"
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
        "has the name {_shown(name)} twice.",
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
    Guard(
        "a command of what is switched off says how to switch it on",
        "manage.py",
        "        refuse_if_off(sys.argv)\n",
        "        pass\n",
        f"{_ARGUMENTS}CommandOfWhatIsOffTest",
    ),
    Guard(
        "seconds of a command are a number",
        "wallets/management/arguments.py",
        "        if (found := float(text)) >= 0:\n",
        "        if not (found := float(text)) < 0:\n",
        f"{_ARGUMENTS}ArgumentTest",
    ),
    Guard(
        "a receiver takes no text that is no secret",
        "events/utils/receiver.py",
        "            if len(key) in _KEY_BYTES:\n",
        "            if key:\n",
        f"{_LISTEN}refuses_what_is_no_secret_of_a_webhook",
    ),
    Guard(
        "a receiver that gets no webhook says what to do",
        "events/management/commands/listen.py",
        'with refused("no webhook was made"), _refused_address_explained(url):\n',
        'with refused("no webhook was made"):\n',
        f"{_LISTEN}says_in_one_line_what_is_wrong",
    ),
    Guard(
        "a key that nobody has made has no empty history",
        "access/management/commands/api_key.py",
        "        if not events:\n",
        "        if False:\n",
        "access/tests/test_keys.py::CommandTest"
        "::test_says_in_one_line_that_there_is_no_key_of_a_name",
    ),
    Guard(
        "the page of problems says when callers are asked",
        "wallets/views/schema/files.py",
        "    if code in CALLER and any(",
        "    if False and any(",
        "test_api_docs.py::GeneratedTest",
    ),
    Guard(
        "a caller whom no scope helps gets a challenge",
        "wallets/views/http/authentication.py",
        'headers = {"WWW-Authenticate": challenge} if challenge else {}\n',
        "headers = {}\n",
        "access/tests/test_routes.py::MetricsTest",
    ),
    Guard(
        "a statement follows the array also after a refused amount with the same key",
        "wallets/services/deposits/deposit.py",
        """        if is_amount(request.amount)
    }
    fit = [
        (request.wallet_text, request.amount, request.key_text)
        for n, request in requests.items()
        if first.get(request.key_text) == n
""",
        """    }
    fit = [
        (request.wallet_text, request.amount, request.key_text)
        for n, request in requests.items()
        if first[request.key_text] == n and is_amount(request.amount)
""",
        "test_api_deposit_many.py::DepositManyApiTest"
        "::test_makes_each_statement_in_the_order_of_the_array",
        POSTGRESQL,
    ),
)
