"""Turns measurements into the figures: JSON, a table, a chart, the page of the docs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.figures import BANK_LATENCY, CEILING
from benchmarks.load import Load

ROOT = Path(__file__).resolve().parents[1]
LATEST = ROOT / "benchmarks" / "results" / "latest.json"
CHART = ROOT / "docs" / "images" / "performance.svg"
PAGE = ROOT / "docs" / "performance.md"
_BEGIN, _END = "<!-- results: written by make bench -->", "<!-- end of results -->"

# Key → what to reach, and what it is in words.
TARGETS: dict[str, tuple[float, str]] = {
    "deposit_over_pgbench": (0.25, "deposits over HTTP ÷ pgbench"),
    "hot_over_spread": (1.0, "deposits onto one wallet ÷ onto 10,000"),
    "bulk_over_pgbench": (3.0, "deposits in bulk, 100 a request ÷ pgbench"),
    "drain_100ms_over_ceiling": (0.8, "payouts, bank takes 100 ms ÷ 640/s"),
    "drain_instant_over_bank": (0.7, "payouts, bank answers at once ÷ the bank alone"),
    "lateness_p99_ms": (50, "lateness of a payout, p99 in ms"),
    "history_1m_over_10k": (0.7, "with 1,000,000 transactions ÷ with 10,000"),
}
NAMES = {
    "pgbench": "pgbench: UPDATE and INSERT in one prepared statement, 16 clients",
    "deposit": "`POST …/deposit` onto 10,000 wallets, 16 connections",
    "deposit_hot": "the same onto one wallet",
    "deposit_bulk": "`POST /deposits/`, 100 a request (latency: of a request)",
    "bank": "the simulator, 64 connections",
    "drain_instant": "payouts, bank answers at once (latency: claim to record)",
    "drain_100ms": f"payouts, bank takes {BANK_LATENCY * 1000:.0f} ms",
    "lateness": "500 payouts due over 60 s (latency: from due to start)",
}


def figures(loads: Mapping[str, Load]) -> dict[str, float]:
    """The figures that these measurements suffice for, by their keys."""

    def ratio(name: str, other: str) -> float | None:
        if name in loads and other in loads:
            return round(loads[name].rate / loads[other].rate, 3)
        return None

    found: dict[str, float | None] = {
        "deposit_over_pgbench": ratio("deposit", "pgbench"),
        "hot_over_spread": ratio("deposit_hot", "deposit"),
        "bulk_over_pgbench": ratio("deposit_bulk", "pgbench"),
        "drain_100ms_over_ceiling": None,
        "drain_instant_over_bank": ratio("drain_instant", "bank"),
    }
    if "drain_100ms" in loads:
        found["drain_100ms_over_ceiling"] = round(
            loads["drain_100ms"].rate / CEILING, 3
        )
    if "lateness" in loads:
        found["lateness_p99_ms"] = round(loads["lateness"].quantile(0.99), 1)
    past = [
        ratio(f"{name}_long", f"{name}_short")
        for name in ("deposit", "list", "due", "statement")
    ]
    found["history_1m_over_10k"] = min((p for p in past if p is not None), default=None)
    return {key: value for key, value in found.items() if value is not None}


def rates(loads: Mapping[str, Load]) -> dict[str, dict[str, float]]:
    """Rate, p50 and p99 of each measurement."""
    return {
        name: {
            "per_second": round(load.rate, 1),
            "p50_ms": round(load.quantile(0.5), 2),
            "p99_ms": round(load.quantile(0.99), 2),
        }
        for name, load in loads.items()
    }


def circumstances(servers: Mapping[str, str]) -> dict[str, Any]:
    """Where and with what this was measured."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    libraries = ("django", "djangorestframework", "celery", "gunicorn", "psycopg")
    return {
        "taken_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "cpu": model,
            "cores": len(os.sched_getaffinity(0)),
            "memory_gb": round(pages / 2**30, 1),
            "system": platform.system(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in libraries},
            **servers,
        },
    }


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown, which is as good on a terminal."""
    lines = ["| figure | reach | measured | |", "|---|---|---|---|"]
    for key, (target, words) in TARGETS.items():
        if key in result:
            sign = "≤" if key == "lateness_p99_ms" else "≥"
            verdict = "reached" if _reached(key, result[key]) else "**not reached**"
            lines.append(
                f"| {words} (`{key}`) | {sign} {target:g} | {result[key]:g} | {verdict} |"
            )
    lines += ["", "| measured | a second | p50 ms | p99 ms |", "|---|---|---|---|"]
    for name, rate in result["rates"].items():
        lines.append(_line(NAMES.get(name, name.replace("_", ", ")), rate))
    for engine, loads in result.get("other_engines", {}).items():
        for name, rate in loads.items():
            lines.append(_line(f"{engine}: {NAMES.get(name, name)}", rate))
    if "memory" in result:
        lines += ["", "| memory, MB | at first | after | |", "|---|---|---|---|"]
        for name, (before, after, done) in result["memory"].items():
            lines.append(f"| {name} | {before} | {after} | {done} |")
    return "\n".join(lines) + "\n"


def _line(name: str, rate: Mapping[str, float]) -> str:
    rest = f"{rate['per_second']:,.0f} | {rate['p50_ms']:.1f} | {rate['p99_ms']:.1f}"
    return f"| {name} | {rest} |"


def _reached(key: str, value: float) -> bool:
    target, _ = TARGETS[key]
    return value <= target if key == "lateness_p99_ms" else value >= target


def page_part(result: Mapping[str, Any]) -> str:
    """What docs/performance.md says of the recorded run."""
    machine, versions = result["machine"], result["versions"]
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"Taken at {result['taken_at']} on {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}; load before: "
        f"{machine['load_before']}. {named}.\n\n{table(result)}"
    )


def write(result: Mapping[str, Any], path: Path) -> None:
    """Write the result; the recorded one is shown in the docs, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if path == LATEST:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
        _, _, after = rest.partition(_END)
        text = f"{before}{_BEGIN}\n\n{page_part(result)}\n{_END}{after}"
        PAGE.write_text(text, encoding="utf-8")
        CHART.write_text(chart(result), encoding="utf-8")


def chart(result: Mapping[str, Any]) -> str:
    """A bar for each figure, as a share of its target; SVG."""
    rows = [(key, target) for key, (target, _) in TARGETS.items() if key in result]
    parts = []
    for number, (key, target) in enumerate(rows):
        value = max(result[key], 0.001)
        share = target / value if key == "lateness_p99_ms" else value / target
        top, width = 34 + 34 * number, min(share, 2.5) * 160
        colour = "#1a7f4b" if _reached(key, result[key]) else "#b3541e"
        parts.append(
            f'<text x="190" y="{top + 15}" text-anchor="end">{key}</text>'
            f'<rect x="200" y="{top}" width="{width:.0f}" height="22" fill="{colour}"/>'
            f'<text x="{206 + width:.0f}" y="{top + 15}">{result[key]:g}</text>'
        )
    height = 44 + 34 * len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {height}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="700" height="{height}" fill="#ffffff"/>'
        '<text x="200" y="20">share of what was to be reached (line: all of it)</text>'
        + "".join(parts)
        + f'<path d="M360 28V{height - 8}" stroke="#333333" stroke-dasharray="4 3"/>'
        "</svg>\n"
    )
