"""The examples of the documentation are the actual answers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from events.services import sequencer
from events.views import schema
from wallets.tests.api import FUTURE, Answer, Api
from wallets.tests.base import WalletTestCase
from wallets.tests.test_api_docs import Recorder

EXAMPLES = Path(schema.__file__).with_name("examples.json")
KEY = "550e8400-e29b-41d4-a716-446655440000"


class ExamplesTest(Api, WalletTestCase):
    """Makes every request of the examples again; WRITE_EXAMPLES=1 stores them."""

    def test_are_the_actual_answers(self) -> None:
        recorder = Recorder(KEY)
        wallet = self.post("/wallets/").json()["uuid"]
        self.post(f"/wallets/{wallet}/deposit", {"amount": 10000}, key=KEY)
        plan = {"amount": 4000, "scheduled_for": FUTURE}
        self.post(f"/wallets/{wallet}/withdraw", plan)
        sequencer.catch_up()
        page = self.get(f"/events/?wallet={wallet}")
        refused = self.get("/events/?after=-1")
        ahead = self.get("/events/?after=1000")
        unknown = self.get("/events/?wallet=00000000-0000-4000-8000-000000000000")
        examples = {
            "list_events": {
                "answer": _numbered(recorder.body(page.json())),
                "problems": dict(
                    _problem(recorder, answer) for answer in (refused, ahead, unknown)
                ),
            }
        }
        if os.environ.get("WRITE_EXAMPLES"):
            EXAMPLES.write_text(json.dumps(examples, indent=1) + "\n")
        recorded = json.loads(EXAMPLES.read_text(encoding="utf-8"))
        self.assertEqual(recorded, examples, "WRITE_EXAMPLES=1, then `make docs`")


def _numbered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events with the positions 1, 2, 3: the feed has others before."""
    return [event | {"position": n} for n, event in enumerate(events, start=1)]


def _problem(recorder: Recorder, answer: Answer) -> tuple[str, Any]:
    problem = recorder.body(answer.json())
    return problem["code"], problem
