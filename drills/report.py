"""The figures of a chaos run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    """The figures of one run. `wrongs` decides."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    requests: dict[str, int] = field(default_factory=dict)
    payouts: int = 0
    done: Counter[str] = field(default_factory=Counter)
    # Of webhooks: how often each answer was given to an event, and what arrived.
    receiver: Counter[str] = field(default_factory=Counter)
    events: int = 0
    delivered: int = 0
    repeated: int = 0
    switched_on: int = 0
    arrived_after: float = 0.0
    reviews: int = 0
    gave_up: int = 0
    settled_after: float = 0.0
    lateness: list[float] = field(default_factory=list)
    wrongs: list[str] = field(default_factory=list)

    def died(self, name: str, *, gave_up: bool = False) -> None:
        """Note that a process ended without a fault.

        A process that `gave_up` ended inside Celery or Granian and logged so; its
        supervisor starts it again. It is counted, and is no error.
        """
        if gave_up:
            self.gave_up += 1
        else:
            self.wrongs.append(f"{name} ended by itself")

    def text(self) -> str:
        """The figures for people."""
        answers = ", ".join(f"{n} {verdict}" for verdict, n in self.requests.items())
        faults, done = _listed(self.faults), _listed(self.done)
        lines = [
            "",
            f"requests  {sum(self.requests.values())} ({answers})",
            f"payouts   {self.payouts} by the bank's list",
            f"ledger    {done}",
            f"events    {self.events}; {self.delivered} deliveries arrived,"
            f" {self.repeated} more than once; all {self.arrived_after:.1f} s after"
            f" the last change, {self.switched_on} switched on for it",
            f"receiver  {_listed(self.receiver)}",
            f"faults    {self.faults.total()} ({faults})",
            f"lateness  p50 {self._late(0.5)}, p99 {self._late(0.99)} of first attempts",
            f"settled   {self.settled_after:.1f} s after the last fault",
        ]
        if self.reviews:
            lines.append(f"reviews   {self.reviews} concluded by the bank's list")
        if self.gave_up:
            lines.append(
                f"gave up   {self.gave_up} processes, inside Celery or Granian"
            )
        lines += [f"WRONG     {wrong}" for wrong in self.wrongs[:50]]
        lines.append(f"{len(self.wrongs)} wrong (seed {self.seed})")
        return "\n".join(lines)

    def _late(self, share: float) -> str:
        if not self.lateness:
            return "none"
        index = min(len(self.lateness) - 1, int(share * len(self.lateness)))
        return f"{self.lateness[index]:.2f} s"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
