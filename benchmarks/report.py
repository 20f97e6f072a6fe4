"""The figures from the measurements: as JSON, a table, a chart and part of the docs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.figures import DRAINS, HISTORY
from benchmarks.load import Load

ROOT = Path(__file__).resolve().parents[1]
LATEST = ROOT / "benchmarks" / "results" / "latest.json"
CHART = ROOT / "docs" / "images" / "performance.svg"
PAGE = ROOT / "docs" / "performance.md"
_BEGIN, _END = "<!-- results: written by make bench -->", "<!-- end of results -->"

# The rate, p50 and p99 of each measurement by its name: see `rates` and `all_rates`.
Rates = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Figure:
    """A figure and its target: a lower bound, or an upper bound if `at_most`.

    `value` computes the figure. It raises KeyError if a measurement is missing.
    """

    reach: float
    value: Callable[[Rates], float]
    at_most: bool = False

    def reached(self, value: float) -> bool:
        """Whether this value reaches the target."""
        return value <= self.reach if self.at_most else value >= self.reach

    def share(self, value: float) -> float:
        """Return the share of the target that this value reaches."""
        value = max(value, 0.001)
        return self.reach / value if self.at_most else value / self.reach


def _over(name: str, *others: str | float) -> Callable[[Rates], float]:
    """Return one rate ÷ the lowest of the others: numbers, or names of measurements."""

    def value(rates: Rates) -> float:
        found = [
            other if isinstance(other, float) else rates[other]["per_second"]
            for other in others
        ]
        return round(rates[name]["per_second"] / min(found), 3)

    return value


def _p99(name: str) -> Callable[[Rates], float]:
    return lambda rates: round(rates[name]["p99_ms"], 1)


def _ceiling(name: str) -> float:
    """Return the payouts a second if the bank is the only limit."""
    return DRAINS[name].in_flight / DRAINS[name].latency


# The target of each rate ÷ the rate of the database alone.
_OVER_PGBENCH = {
    "deposit": 0.35,
    "deposit64": 0.65,
    "withdraw": 0.3,
    "transfer": 0.3,
    "transfer_bulk": 0.3,
    "get_wallet": 0.65,
    "get_transaction": 0.65,
    "list": 0.35,
    "statement": 0.35,
    "create_wallet": 0.3,
    "bulk": 1.8,
}
_OVER_ANCHOR = {"deposit": 0.35, "withdraw": 0.35, "bulk": 1.0}
_PAST = [_over(f"{name}_long", f"{name}_short") for name in (*HISTORY, "due")]
_AT_100MS = _ceiling("drain_100ms")
FIGURES = {
    **{
        f"{name}_over_pgbench": Figure(reach, _over(name, "pgbench"))
        for name, reach in _OVER_PGBENCH.items()
    },
    "hot_over_spread": Figure(1.0, _over("deposit_hot", "deposit")),
    "transfer_hot_over_spread": Figure(0.8, _over("transfer_hot", "transfer")),
    "drain_ceiling_per_pgbench": Figure(
        0.2, _over("drain_ceiling", "pgbench_by_drain")
    ),
    "drain_100ms_over_ceiling": Figure(0.95, _over("drain_100ms", _AT_100MS)),
    # The lower limit counts: the bank's, or the rate with a bank that is no limit.
    "drain_512_over_ceiling": Figure(
        0.95, _over("drain_512", _ceiling("drain_512"), "drain_ceiling")
    ),
    "lateness_p99_ms": Figure(15, _p99("lateness"), at_most=True),
    "history_1m_over_10k": Figure(
        0.9, lambda rates: min(value(rates) for value in _PAST)
    ),
    **{
        f"mariadb_{name}_over_anchor": Figure(
            reach, _over(f"mariadb_{name}", "mariadb_anchor")
        )
        for name, reach in _OVER_ANCHOR.items()
    },
    "mariadb_drain_100ms_over_ceiling": Figure(
        0.8, _over("mariadb_drain_100ms", _AT_100MS)
    ),
    "sqlite_deposit_p99_ms": Figure(60, _p99("sqlite_deposit"), at_most=True),
}
NAMES = {
    "pgbench": "pgbench: UPDATE and INSERT in one prepared statement, 16 clients",
    "anchor": "anchor: UPDATE and INSERT in a transaction, 16 clients",
    "deposit": "`POST …/deposit` onto 10,000 wallets, 16 connections",
    "deposit64": "the same, 64 connections",
    "deposit_hot": "onto one wallet, 16 connections",
    "withdraw": "`POST …/withdraw`",
    "transfer": "`POST /transfers/` between 10,000 wallets, 16 connections",
    "transfer_hot": "the same, to one wallet",
    "transfer_bulk": "`POST /transfers/`, 100 a request (latency: of a request)",
    "get_wallet": "`GET` a wallet",
    "get_transaction": "`GET` a transaction",
    "list": "`GET …/transactions/?limit=20`, wallet with 10,000",
    "statement": "`GET …/statement/?limit=20`, the same",
    "create_wallet": "`POST /wallets/`",
    "bulk": "`POST /deposits/`, 100 a request (latency: of a request)",
    "pgbench_by_drain": "pgbench, beside the next",
    "drain_ceiling": "payouts, bank answers at once (latency: claim to record)",
    "drain_100ms": "payouts, bank takes 100 ms, 64 in flight",
    "drain_512": "payouts, bank takes 100 ms, 512 in flight",
    "lateness": "payouts due one after the other (latency: from due to start)",
}


def rates(loads: Mapping[str, Load]) -> dict[str, dict[str, float]]:
    """Return rate, p50, p99 and, if it was measured, CPU of each measurement."""
    return {
        name: {
            "per_second": round(load.rate, 1),
            "p50_ms": round(load.quantile(0.5), 2),
            "p99_ms": round(load.quantile(0.99), 2),
            **({"cpu_us": round(load.cpu_us, 1)} if load.cpu else {}),
        }
        for name, load in loads.items()
    }


def all_rates(result: Mapping[str, Any]) -> Rates:
    """Return the rates of all engines; those of PostgreSQL have no prefix."""
    others = result.get("other_engines", {})
    return result["rates"] | {
        f"{engine}_{name}": rate
        for engine, its_rates in others.items()
        for name, rate in its_rates.items()
    }


def figures(measured: Rates) -> dict[str, float]:
    """Return the figures that can be computed from these measurements, by key."""
    found = {}
    for key, figure in FIGURES.items():
        with suppress(KeyError):
            found[key] = figure.value(measured)
    return found


def circumstances(servers: Mapping[str, str]) -> dict[str, Any]:
    """Return the machine and the versions of this measurement."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    libraries = ("django", "granian", "celery", "h11", "psycopg", "pymysql")
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
    """Return the result as Markdown, which is also readable in a terminal."""
    lines = ["| figure | reach | measured | |", "|---|---|---|---|"]
    for key, figure in FIGURES.items():
        if key in result:
            sign = "≤" if figure.at_most else "≥"
            verdict = "reached" if figure.reached(result[key]) else "**not reached**"
            reach = f"{sign} {figure.reach:g}"
            lines.append(f"| `{key}` | {reach} | {result[key]:g} | {verdict} |")
    lines += ["", "| measured | a second | p50 ms | p99 ms | CPU µs each |"]
    lines += ["|---|---|---|---|---|"]
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
    cpu = f"{rate['cpu_us']:,.0f}" if "cpu_us" in rate else "-"
    return f"| {name} | {rest} | {cpu} |"


def page_part(result: Mapping[str, Any]) -> str:
    """Return the part of docs/performance.md about the recorded run."""
    machine, versions = result["machine"], result["versions"]
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"Taken at {result['taken_at']} on {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}; load before: "
        f"{machine['load_before']}. {named}.\n\n{table(result)}"
    )


def write(result: Mapping[str, Any], path: Path) -> None:
    """Write the result; also into the docs, if `path` is that of the recorded run.

    :raises RuntimeError: the recorded run would lack a figure.
    """
    missing = FIGURES.keys() - result.keys()
    if path == LATEST and missing:
        raise RuntimeError(f"not recorded, for it lacks {', '.join(sorted(missing))}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if path == LATEST:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
        _, _, after = rest.partition(_END)
        text = f"{before}{_BEGIN}\n\n{page_part(result)}\n{_END}{after}"
        PAGE.write_text(text, encoding="utf-8")
        CHART.write_text(chart(result), encoding="utf-8")


def chart(result: Mapping[str, Any]) -> str:
    """Return an SVG with a bar for each figure, as a share of its target."""
    rows = [(key, figure) for key, figure in FIGURES.items() if key in result]
    parts = []
    for number, (key, figure) in enumerate(rows):
        top = 34 + 34 * number
        width = min(figure.share(result[key]), 2.5) * 160
        colour = "#1a7f4b" if figure.reached(result[key]) else "#b3541e"
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
