"""The strict JSON parser: examples, and comparisons with Python's own parser."""

from __future__ import annotations

import json
import math
from typing import Any

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from wallets.tests import marks
from wallets.utils import strict_json
from wallets.utils.strict_json import NotStrictJSON

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False).filter(bool)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=15,
)


class StrictJSONTest(SimpleTestCase):
    @marks.slow
    @given(VALUES, st.booleans())
    def test_reads_back_whatever_json_can_say(
        self, value: Any, ascii_only: bool
    ) -> None:
        text = json.dumps(value, ensure_ascii=ascii_only)
        self.assertEqual(strict_json.loads(text.encode()), value)

    @given(st.binary(max_size=200))
    def test_raises_one_kind_of_error_for_any_bytes(self, body: bytes) -> None:
        self.parse(body)

    def parse(self, body: bytes) -> None:
        """Parse; the value can be written as UTF-8, or it raises `NotStrictJSON`."""
        try:
            value = strict_json.loads(body)
        except NotStrictJSON:
            return
        json.dumps(value, ensure_ascii=False).encode()

    @given(st.text('[]{}",:\\u0dD8 1e-.', max_size=60))
    def test_raises_one_kind_of_error_for_what_looks_like_json(self, text: str) -> None:
        self.parse(text.encode())

    def test_counts_depth_outside_texts_only(self) -> None:
        for text in ("[" * 16 + "]" * 16, json.dumps(["[{" * 50, '\\"[' * 50])):
            self.assertEqual(strict_json.loads(text.encode()), json.loads(text))
        for text in ("[" * 17 + "]" * 17, '["\\"' + '",' + "[" * 17):
            with self.assertRaisesMessage(NotStrictJSON, "nests deeper than 16"):
                strict_json.loads(text.encode())

    def test_counts_depth_in_a_text_without_escapes_as_in_one_with_them(self) -> None:
        deep = "[" * 17
        for text, message in (
            (f'["{deep}", "{{", {{"[[": "]"}}]', None),
            (f'["]]]]", "{deep}", {deep[1:]}', "nests deeper than 16"),
            (f'["{deep}', "not valid JSON"),
            (f'"" {deep}', "nests deeper than 16"),
        ):
            for body in (text, text.replace('"', '"\\n', 1)):
                with self.subTest(body=body):
                    if message is None:
                        strict_json.loads(body.encode())
                        continue
                    with self.assertRaisesMessage(NotStrictJSON, message):
                        strict_json.loads(body.encode())

    def test_refuses_text_that_not_every_database_stores(self) -> None:
        for text in (
            r'"\u0000"',
            r'{"\ud800": 1}',
            r'[{"a": ["\udfff"]}]',
            r'"\ude00\ud83d"',
        ):
            with self.assertRaisesMessage(NotStrictJSON, "NUL or a lone surrogate"):
                strict_json.loads(text.encode())
        self.assertEqual(strict_json.loads(rb'"\ud83d\ude00"'), "\U0001f600")

    def test_refuses_a_name_twice_at_any_depth(self) -> None:
        for text in ('{"a":1,"a":1}', '[{"b":{"a":1,"\\u0061":2}}]'):
            with self.assertRaisesMessage(NotStrictJSON, 'has the name "a" twice'):
                strict_json.loads(text.encode())

    def test_finds_the_repeated_name_among_very_many_in_one_pass(self) -> None:
        """Comparing each with each other one would take minutes."""
        names = [f'"{number}":0' for number in range(200_000)]
        with self.assertRaisesMessage(NotStrictJSON, 'has the name "199999" twice'):
            strict_json.loads(f"{{{','.join([*names, names[-1]])}}}".encode())

    def test_makes_huge_integers_infinite_and_minus_zero_a_float(self) -> None:
        self.assertEqual(strict_json.loads(b"9" * 40), int("9" * 40))
        self.assertEqual(strict_json.loads(b"9" * 5000), math.inf)
        self.assertEqual(strict_json.loads(b"-" + b"9" * 5000), -math.inf)
        self.assertIsInstance(strict_json.loads(b"-0"), float)
        self.assertIsInstance(strict_json.loads(b"0"), int)
