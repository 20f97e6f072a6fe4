"""The figures of a sweep: how many points, how many kills, how many wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Line:
    """The figures of one database, kind of bank, fault and action."""

    points: int = 0
    struck: int = 0
    reviewed: int = 0
    wrong: int = 0
    seconds: float = 0.0


@dataclass
class Totals:
    """Figures by (database, bank, fault, action)."""

    lines: dict[tuple[str, ...], Line] = field(default_factory=dict)

    def line(self, *key: str) -> Line:
        return self.lines.setdefault(key, Line())

    @property
    def points(self) -> int:
        return sum(line.points for line in self.lines.values())

    @property
    def struck(self) -> int:
        return sum(line.struck for line in self.lines.values())

    @property
    def wrong(self) -> int:
        return sum(line.wrong for line in self.lines.values())

    def dump(self) -> list[Any]:
        return [[list(key), asdict(line)] for key, line in self.lines.items()]

    def add(self, dumped: list[Any]) -> None:
        for key, figures in dumped:
            self.lines[tuple(key)] = Line(**figures)

    def table(self) -> str:
        """All lines, and a sum for each database."""
        head = ("database", "bank", "fault", "action")
        rows = [f"{'  '.join(f'{name:<15}' for name in head)}  points  struck   wrong"]
        for key, line in self.lines.items():
            rows.append(self._row(key, line))
        for database in dict.fromkeys(key[0] for key in self.lines):
            total = Line()
            for key, line in self.lines.items():
                if key[0] == database:
                    total.points += line.points
                    total.struck += line.struck
                    total.wrong += line.wrong
            rows.append(self._row((database, "all", "all", "all"), total))
        return "\n".join(rows)

    @staticmethod
    def _row(key: tuple[str, ...], line: Line) -> str:
        names = "  ".join(f"{name:<15}" for name in key)
        return f"{names}  {line.points:6}  {line.struck:6}  {line.wrong:6}"
