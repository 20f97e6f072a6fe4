"""Guards of what a refused client or operator is told; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

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
)
