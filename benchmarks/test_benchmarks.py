"""That each figure can be measured, and that the docs show what was: never how fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.anchor import find_pgbench

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not (os.environ.get("TEST_POSTGRES_URL") and os.environ.get("TEST_REDIS_URL")),
    reason="needs PostgreSQL and Redis: `make test` names those that answer",
)
@pytest.mark.skipif(
    not (find_pgbench() or os.environ.get("WALLET_REQUIRE_SERVERS")),
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


def test_the_docs_show_the_recorded_run() -> None:
    recorded = json.loads(report.LATEST.read_text(encoding="utf-8"))
    assert report.page_part(recorded) in report.PAGE.read_text(encoding="utf-8")
    assert report.CHART.read_text(encoding="utf-8") == report.chart(recorded)
