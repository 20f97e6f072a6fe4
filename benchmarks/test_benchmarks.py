"""Each figure can be measured; the docs show the recorded run. No speed is tested."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.anchor import find_pgbench
from benchmarks.load import HttpClient, LoadError, drive, http_get, http_post
from benchmarks.near_due import in_time
from drills.broker import server_binary
from drills.process import free_port, listens, wait_until

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = os.environ.get("WALLET_REQUIRE_SERVERS")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not (os.environ.get("TEST_POSTGRES_URL") and os.environ.get("TEST_REDIS_URL")),
    reason="needs PostgreSQL and Redis: `make test` names those that answer",
)
@pytest.mark.skipif(
    not (find_pgbench() or REQUIRED),
    reason="pgbench is not installed",
)
def test_every_figure_can_be_measured(tmp_path: Path) -> None:
    output = tmp_path / "short.json"
    command = [sys.executable, "-m", "benchmarks", "--short", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, check=True)
    result = json.loads(output.read_text())
    measured = {
        key
        for key in report.FIGURES
        if "MariaDB" in result["versions"] or not key.startswith("mariadb_")
    }
    for key in measured:
        assert isinstance(result[key], (int, float)), key
        assert result[key] > 0, key
    assert {"rates", "machine", "versions", "taken_at"} <= set(result)
    assert report.chart(result).count("<rect") == 1 + len(measured)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(
    not (os.environ.get("TEST_POSTGRES_URL") and (server_binary() or REQUIRED)),
    reason="needs PostgreSQL and a Redis of its own: `make test` names what answers",
)
def test_a_strangers_payout_is_not_late_while_many_are_due_at_once() -> None:
    """Nor are the many. The machine may be busy: seconds, which the starved exceed."""
    command = [sys.executable, "-m", "benchmarks.near_due", "--most", "5"]
    command += ["--rate", "20", "--seconds", "5", "--before", "6", "--ahead", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^near +\d+ paid", done.stdout, re.M)
    assert re.search(r"^strangers +25 paid", done.stdout, re.M)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(
    not os.environ.get("TEST_POSTGRES_URL"),
    reason="needs PostgreSQL: `make test` names what answers",
)
def test_the_costs_of_events_and_of_a_key_are_told() -> None:
    """The figures of so short a run mean nothing."""
    command = [sys.executable, "-m", "benchmarks.costs", "--turns", "2"]
    command += ["--seconds", "0.3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("events", "keys"):
        assert re.search(rf"^{kind}_over_plain \d\.\d", done.stdout, re.M), done.stdout
    assert re.search(r"^commit_to_feed_p99 \d", done.stdout, re.M), done.stdout


def test_late_ones_are_told() -> None:
    quick, late = [0.1] * 200, [0.1] * 197 + [6.0] * 3
    assert in_time({"near": quick, "strangers": quick}, 5)
    assert not in_time({"near": quick, "strangers": late}, 5)
    assert not in_time({"near": quick, "strangers": []}, None)


@pytest.fixture
def answerer() -> Iterator[int]:
    """Yield the port of a bank that pays at once."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.answerer", str(port), "0"]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            wait_until(lambda: listens(port), seconds=60, what="the answerer")
            yield port
        finally:
            process.kill()


def test_an_answer_that_is_not_the_expected_one_ends_the_run(answerer: int) -> None:
    payment = http_post("/", b'{"reference": "one"}')
    one = b'"reference": "one"'
    as_expected = [HttpClient(answerer, 200, one, 1) for _ in range(2)]
    assert drive(as_expected, iter([payment] * 5)).done == 5
    for unexpected in ((201,), (200, one, 2)):
        with pytest.raises(LoadError):
            drive([HttpClient(answerer, *unexpected)], iter([payment]))
    with pytest.raises(LoadError):  # closed without an answer
        drive([HttpClient(answerer)], iter([http_get("/payments/one")]))


def test_the_docs_show_the_recorded_run() -> None:
    recorded = json.loads(report.LATEST.read_text(encoding="utf-8"))
    assert report.page_part(recorded) in report.PAGE.read_text(encoding="utf-8")
    assert report.CHART.read_text(encoding="utf-8") == report.chart(recorded)
