"""Plots as inline SVG, coloured by the style sheet, without scripts.

The SVG has only geometry and stretches to any width. All text is HTML beside it, so it
stays readable on a phone. No database access here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import slugify

from wallets.utils.words import in_units, money

WIDTH, HEIGHT = 1000, 200
X_LABELS = 5
# The gap between two bars, as a share of a bar.
GAP = 0.22


@dataclass(frozen=True)
class Series:
    """Counts of one kind. `tone` names its colour in the style sheet."""

    name: str
    tone: str
    values: Sequence[int]


@dataclass(frozen=True)
class Plot:
    """A picture and its text, for `console/plot.html`."""

    title: str
    description: str
    svg: SafeString
    x_labels: Sequence[str]
    y_labels: Sequence[str]
    legend: Sequence[Series] = ()
    empty: bool = False


def bars(
    title: str,
    *,
    start: datetime,
    step: timedelta,
    series: Sequence[Series],
) -> Plot:
    """Return stacked bars, one for each step of time from `start`; times are UTC."""
    columns = list(zip(*(one.values for one in series), strict=True))
    top = _round_up(max((sum(column) for column in columns), default=0))
    slot = WIDTH / max(1, len(columns))
    shapes = [
        _column(column, series, index, slot, top, start + index * step, step)
        for index, column in enumerate(columns)
        if any(column)
    ]
    totals = ", ".join(f"{sum(one.values):,} {one.name}" for one in series)
    end = start + len(columns) * step
    description = f"{start:%H:%M} to {end:%H:%M} UTC: {totals}."
    return Plot(
        title,
        description,
        _svg(title, description, format_html_join("", "{}", ((s,) for s in shapes))),
        _time_labels(start, end),
        [short(value) for value in _heights(top)],
        series,
        empty=not shapes,
    )


def steps(
    title: str,
    points: Sequence[tuple[datetime, int]],
    *,
    currency: str,
    start: datetime,
    end: datetime,
) -> Plot:
    """Return a line that keeps its height until the next point; times are UTC.

    Values are minor units of the currency. The labels of its axis are in whole units.
    """
    top = _round_up(max((value for _, value in points), default=0))
    seconds = max((end - start).total_seconds(), 1)

    def x(moment: datetime) -> float:
        share = (moment - start).total_seconds() / seconds
        return round(WIDTH * min(max(share, 0), 1), 1)

    def y(value: int) -> float:
        return round(HEIGHT - HEIGHT * value / top, 1)

    if not points:
        return Plot(title, "Nothing yet.", SafeString(""), (), (), empty=True)
    path = f"M{x(points[0][0])},{y(points[0][1])}"
    for (_, before), (moment, value) in pairwise(points):
        path += f"H{x(moment)}" + (f"V{y(value)}" if value != before else "")
    path += f"H{x(end)}"
    description = (
        f"From {money(points[0][1], currency)} at {start:%Y-%m-%d %H:%M} "
        f"to {money(points[-1][1], currency)} at {end:%Y-%m-%d %H:%M} UTC."
    )
    shapes = format_html(
        '<path class="area" d="{}V{}H{}Z"/><path class="line" d="{}"/>',
        path,
        HEIGHT,
        x(points[0][0]),
        path,
    )
    svg = _svg(title, description, shapes)
    labels = [short(in_units(value, currency)) for value in _heights(top)]
    return Plot(title, description, svg, _time_labels(start, end), labels)


def _column(
    column: Sequence[int],
    series: Sequence[Series],
    index: int,
    slot: float,
    top: int,
    moment: datetime,
    step: timedelta,
) -> SafeString:
    """Return one stacked bar, with a tooltip."""
    words = ", ".join(
        f"{value:,} {one.name}"
        for value, one in zip(column, series, strict=True)
        if value
    )
    title = f"{moment:%H:%M}\u2013{moment + step:%H:%M} UTC: {words}"
    parts, below = [], 0
    for value, one in zip(column, series, strict=True):
        if value:
            below += value
            parts.append(
                (
                    one.tone,
                    round(index * slot + slot * GAP / 2, 1),
                    round(HEIGHT - HEIGHT * below / top, 1),
                    round(slot * (1 - GAP), 1),
                    round(HEIGHT * value / top, 1),
                )
            )
    rects = format_html_join(
        "", '<rect class="tone-{}" x="{}" y="{}" width="{}" height="{}"/>', parts
    )
    return format_html("<g><title>{}</title>{}</g>", title, rects)


def _svg(title: str, description: str, shapes: SafeString) -> SafeString:
    grid = format_html_join(
        "",
        '<line class="rule" x1="0" x2="{}" y1="{}" y2="{}"/>',
        ((WIDTH, y, y) for y in (0, HEIGHT / 2, HEIGHT)),
    )
    name = slugify(title)
    return format_html(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-labelledby="{name}-title {name}-text">'
        '<title id="{name}-title">{}</title><desc id="{name}-text">{}</desc>{}{}</svg>',
        WIDTH,
        HEIGHT,
        title,
        description,
        grid,
        shapes,
        name=name,
    )


def _round_up(value: int) -> int:
    """Return the top of the scale: 2, 4, 6, 8, 10, 20, 40 …, so that half is whole."""
    power = 1
    while power * 10 < value:
        power *= 10
    for factor in (2, 4, 6, 8, 10):
        if factor * power >= value:
            return factor * power
    raise AssertionError("unreachable: 10 * power >= value")


def _heights(top: int) -> list[int]:
    """Return the values that have a rule, from the top."""
    return [top, top // 2, 0]


def short(value: int | Decimal) -> str:
    """Return a number for an axis: 0.05, 950, 12k, 3.5M."""
    for size, suffix in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{float(value / size):.3g}{suffix}"
    return f"{Decimal(value).normalize():f}"


def _time_labels(start: datetime, end: datetime) -> list[str]:
    """Return evenly spread times; with the day if the span is long."""
    form = "%H:%M" if end - start < timedelta(hours=12) else "%d %b %H:%M"
    span = end - start
    moments = (start + span * part / (X_LABELS - 1) for part in range(X_LABELS))
    return [moment.strftime(form) for moment in moments]
