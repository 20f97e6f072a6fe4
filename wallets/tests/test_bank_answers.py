"""The proof in the bank's answers: the tests read the tables of docs/bank.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

from django.conf import settings

from wallets.tests import marks
from wallets.tests.peers import Peer, response
from wallets.tests.test_third_party import ECHO, NEVER, PAYMENT, PeerTestCase, bank_at
from wallets.utils.bank.evidence import WORDS, Call, Word
from wallets.utils.bank.interface import Answer, Outcome

TEXT = (Path(settings.BASE_DIR) / "docs" / "bank.md").read_text()


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its header."""
    section = TEXT.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines[2:]]


class TableCase(PeerTestCase):
    def ask(self, call: Call, data: bytes) -> Answer:
        bank = bank_at(self.answering(data).url)
        if call is Call.LOOK_UP:
            return bank.look_up(PAYMENT)
        return bank.pay(PAYMENT, send_before=NEVER)


class TableTest(TableCase):
    """The tables of what an answer proves…"""

    HEADINGS = {Call.PAYMENT: "A payment", Call.LOOK_UP: "A look-up"}

    def documented(self, call: Call) -> list[tuple[int, str, int, bool, str]]:
        return [
            (int(http), data, int(status), echo == "needed", proves)
            for http, data, status, echo, proves in rows_of(self.HEADINGS[call])
        ]

    def test_are_the_tables_of_the_code(self):
        def flat(word: Word) -> list[tuple[int, str, int, bool, str]]:
            return [
                (http, word.data, word.status, word.echo, word.proves.value)
                for http in sorted(word.http)
            ]

        for call, words in WORDS.items():
            with self.subTest(call):
                code = [row for word in words for row in flat(word)]
                self.assertEqual(self.documented(call), code)

    def test_give_the_outcomes_of_the_client(self):
        """Each row is tested with our reference and without it."""
        for call in Call:
            for http, data, status, needed, proves in self.documented(call):
                for echo in ({}, ECHO):
                    body = {"data": data, "status": status} | echo
                    expected = "unknown" if needed and not echo else proves
                    with self.subTest(call=call, http=http, body=body):
                        answer = self.ask(call, response(body, status=f"{http} X"))
                        self.assertEqual(answer.outcome.value, expected)

    @marks.slow
    def test_prove_nothing_under_any_other_status(self):
        for call in Call:
            known = {(http, data) for http, data, *_ in self.documented(call)}
            for http in (200, 201, 204, 400, 404, 409, 429, 500, 502, 503, 504):
                for data, status in (("success", 200), ("failed", 503)):
                    if (http, data) in known:
                        continue
                    body = {"data": data, "status": status} | ECHO
                    with self.subTest(call=call, http=http, body=body):
                        answer = self.ask(call, response(body, status=f"{http} X"))
                        self.assertEqual(answer.outcome, Outcome.UNKNOWN)


class ExampleTest(TableCase):
    """The examples of answers that prove nothing…"""

    @marks.slow
    def test_prove_nothing(self):
        rows = rows_of("Answers that prove nothing")
        self.assertGreater(len(rows), 20)
        for call, http, body, proves in rows:
            text = body.strip("`").replace("<ours>", str(PAYMENT.reference))
            kind = "text/html" if text.startswith("<") else "application/json"
            data = response(
                text.encode(), status=f"{http} X", headers={"Content-Type": kind}
            )
            with self.subTest(call=call, http=http, body=body):
                answer = self.ask(Call(call), data)
                self.assertEqual(answer.outcome.value, proves)
                self.assertEqual(answer.reason, text)

    def test_differ_little_from_an_answer_that_is_proof(self):
        """Each example is almost a proof, so that no row is superfluous."""
        for call, _, body, _ in rows_of("Answers that prove nothing"):
            self.assertIn(call, [each.value for each in Call])
            if not body.startswith("`<"):
                said = json.loads(body.strip("`"))
                self.assertEqual(type(said["status"]), int)
                self.assertTrue(re.fullmatch("[a-z]+", said["data"]))


class LookUpNotSentTest(TableCase):
    """A look-up that was not sent proves nothing about the payment."""

    def test_is_unknown(self):
        def closed() -> str:
            peer = Peer(lambda line: None)
            peer.stop()
            return peer.url

        for url in (closed(), "http://bank.invalid"):
            with self.subTest(url):
                answer = bank_at(url, deadline=5, connect_timeout=2).look_up(PAYMENT)
                self.assertEqual(answer.outcome, Outcome.UNKNOWN, answer)
